import { useEffect, useRef } from 'preact/hooks';

/** Keeps the end in view while text arrives, unless the reader has scrolled up to read. */
export function useFollowBottom(changes: unknown) {
  const bottom = useRef<HTMLDivElement>(null);
  const following = useRef(true);

  useEffect(() => {
    const look = () => {
      const { scrollHeight, clientHeight } = document.documentElement;
      following.current = scrollHeight - clientHeight - window.scrollY < 160;
    };
    window.addEventListener('scroll', look, { passive: true });
    return () => window.removeEventListener('scroll', look);
  }, []);

  useEffect(() => {
    if (following.current) bottom.current?.scrollIntoView({ block: 'end' });
  }, [changes]);

  return bottom;
}
