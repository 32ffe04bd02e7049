/** Words worth recovering when somebody hides them with digits, stars, spaces or long letters. */
export const riskWords: ReadonlySet<string> = new Set(
  (
    'suicide suicidal kill killing killed kills die dies dying died dead death cut cutting hurt hurting harm harming myself himself ' +
    'herself themselves yourself hang hanging overdose pills end ending life alive unalive jump shoot shooting stab murder gun rape raped ' +
    'noose knife bleed wrist wrists goodbye'
  ).split(' '),
);

/** Short words that may stand between risk words when a whole phrase is spelt letter by letter. */
export const joiningWords: ReadonlySet<string> = new Set(
  'i am a to my me and want going will it all the of so wanna feel just'.split(' '),
);
