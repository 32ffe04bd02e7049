import { useEffect, useRef } from 'preact/hooks';

/** Keeps the end of the page in view while text arrives, unless the reader has scrolled up to read. */
export function useFollowBottom(changes: unknown): void {
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
    if (following.current) window.scrollTo(0, document.documentElement.scrollHeight);
  }, [changes]);
}
