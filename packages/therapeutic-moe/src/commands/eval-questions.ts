/** Everyday questions for the sample exchanges of a report, written by this project. None comes from a person or a data set. */
export const evaluationQuestions: readonly string[] = [
  'I have been feeling anxious before every meeting at work. What can I do?',
  'How can I stop worrying so much at night?',
  'My partner and I keep arguing about money. How can we talk about it calmly?',
  'What is classical conditioning?',
  'I feel lonely since I moved to a new city.',
  'How do I know if I am depressed or just sad?',
  'My teenage son does not talk to me anymore. What should I do?',
  'What are the symptoms of post-traumatic stress disorder?',
  'I lost my grandmother last month and I cannot focus on anything.',
  'Is it normal to be nervous before the first session with a therapist?',
];
