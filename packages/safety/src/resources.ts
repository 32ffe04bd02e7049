/** Regions with resources of their own; `international` is the answer when the region is not known. */
export type Region = 'international' | 'US' | 'CA' | 'GB' | 'IE' | 'EU' | 'AU' | 'NZ' | 'IN';

/** Where a person can turn to. */
export interface CrisisResource {
  readonly name: string;
  /** How to reach it, ready to be shown. */
  readonly contact: string;
  readonly url: string;
}

/** The resources of one region. */
export interface RegionalResources {
  readonly region: Region;
  /** Emergency number, or words where there is no single one. */
  readonly emergency: string;
  readonly resources: readonly CrisisResource[];
}

// Listed 2026-11-22. The operators' own pages are the sources (the `url` of each entry; for 112:
// https://digital-strategy.ec.europa.eu/en/policies/112). Numbers change: review them before each release and move the date.
const FIND_A_HELPLINE: CrisisResource = {
  name: 'Find A Helpline',
  contact: 'free, confidential services by country at findahelpline.com',
  url: 'https://findahelpline.com',
};

const samaritans: CrisisResource = {
  name: 'Samaritans',
  contact: 'call 116 123, free, day and night',
  url: 'https://www.samaritans.org',
};

const table: Readonly<Record<Region, RegionalResources>> = {
  international: {
    region: 'international',
    emergency: 'your local emergency number (112 works in many countries)',
    resources: [FIND_A_HELPLINE],
  },
  US: {
    region: 'US',
    emergency: '911',
    resources: [
      {
        name: '988 Suicide & Crisis Lifeline',
        contact: 'call or text 988, free, day and night',
        url: 'https://988lifeline.org',
      },
      FIND_A_HELPLINE,
    ],
  },
  CA: {
    region: 'CA',
    emergency: '911',
    resources: [
      {
        name: '9-8-8 Suicide Crisis Helpline',
        contact: 'call or text 9-8-8, free, day and night',
        url: 'https://988.ca',
      },
      FIND_A_HELPLINE,
    ],
  },
  GB: { region: 'GB', emergency: '999', resources: [samaritans, FIND_A_HELPLINE] },
  IE: { region: 'IE', emergency: '112 or 999', resources: [samaritans, FIND_A_HELPLINE] },
  EU: { region: 'EU', emergency: '112', resources: [FIND_A_HELPLINE] },
  AU: {
    region: 'AU',
    emergency: '000',
    resources: [
      { name: 'Lifeline Australia', contact: 'call 13 11 14, day and night', url: 'https://www.lifeline.org.au' },
      FIND_A_HELPLINE,
    ],
  },
  NZ: {
    region: 'NZ',
    emergency: '111',
    resources: [
      { name: '1737 Need to talk?', contact: 'call or text 1737, free, day and night', url: 'https://1737.org.nz' },
      FIND_A_HELPLINE,
    ],
  },
  IN: {
    region: 'IN',
    emergency: '112',
    resources: [
      { name: 'Tele-MANAS', contact: 'call 14416, free, day and night', url: 'https://telemanas.mohfw.gov.in' },
      FIND_A_HELPLINE,
    ],
  },
};

/** Every region this package has resources for. */
export const regions = Object.freeze(Object.keys(table)) as readonly Region[];

/** The resources of a region. */
export function resourcesFor(region: Region): RegionalResources {
  return table[region];
}
