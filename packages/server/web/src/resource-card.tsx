import type { ReplyReport, Resource } from './chat-client.js';
import { Icon } from './icon.js';

/** People to turn to, shown whenever the safety policy answered with resources or added them. */
export function ResourceCard({ safety: { emergency, resources = [] } }: { safety: ReplyReport['safety'] }) {
  if (resources.length === 0) return null;
  return (
    <aside class="resources" aria-label="People you can reach now">
      <h3>People you can reach now</h3>
      <ul>
        {emergency !== undefined && (
          <li>
            <div>
              <strong>In immediate danger</strong>
              {!isNumber(emergency) && <p class="contact">Call {emergency}.</p>}
            </div>
            {isNumber(emergency) && (
              <div class="ways">
                <PhoneLink number={emergency} />
              </div>
            )}
          </li>
        )}
        {resources.map((resource) => (
          <ResourceItem key={resource.name} resource={resource} />
        ))}
      </ul>
    </aside>
  );
}

function ResourceItem({ resource: { name, contact, phone, url } }: { resource: Resource }) {
  return (
    <li>
      <div>
        <strong>{name}</strong>
        <p class="contact">{contact}</p>
      </div>
      <div class="ways">
        {phone !== undefined && <PhoneLink number={phone} />}
        <a class="way" href={url} target="_blank" rel="noopener noreferrer">
          <Icon name="globe" />
          {new URL(url).hostname.replace(/^www\./, '')}
        </a>
      </div>
    </li>
  );
}

function PhoneLink({ number }: { number: string }) {
  return (
    <a class="way" href={`tel:${number.replace(/[^\d+]/g, '')}`}>
      <Icon name="phone" />
      {number}
    </a>
  );
}

function isNumber(text: string): boolean {
  return /^[\d -]+$/.test(text);
}
