/**
 * Neutral sentences of the four domains of the therapeutic design, written for this project: what routers of an upcycled
 * model are made from unless other prompts are given.
 */
export const domainPrompts: Readonly<Record<string, readonly string[]>> = {
  psychology: [
    'Classical conditioning pairs a neutral stimulus with one that already triggers a response, until the neutral one triggers it alone.',
    'Working memory holds a few items for seconds, while long-term memory stores facts and events over years.',
    'Researchers assign participants to groups at random, so that differences between the groups can be put down to the treatment.',
    'Piaget described stages of cognitive development, from sensing and moving to abstract reasoning in adolescence.',
    'The prefrontal cortex takes part in planning and self-control, and the hippocampus in forming new memories.',
    'Personality traits such as extraversion and conscientiousness are measured with questionnaires and stay fairly stable in adults.',
    'Cognitive dissonance is the discomfort of holding two beliefs that contradict each other, and it often changes attitudes.',
    'A correlation of two variables does not show that one causes the other; an experiment is needed for that.',
  ],
  mental_health: [
    'Generalised anxiety disorder involves worry on most days for six months or more, with restlessness, fatigue and poor sleep.',
    'Treatment of depression may combine psychotherapy with antidepressant medication, and a doctor reviews both after some weeks.',
    'Symptoms of post-traumatic stress disorder include intrusive memories, avoidance, changes in mood and heightened arousal.',
    'Bipolar disorder is diagnosed from episodes of mania and depression; mood stabilisers such as lithium lower the risk of relapse.',
    'Insomnia is first treated with cognitive behavioural therapy, sleep hygiene and a regular time to get up.',
    'Obsessive-compulsive disorder responds to exposure with response prevention and to certain medicines.',
    'Clinicians screen for eating disorders with short questionnaires and check weight, heart rate and blood tests.',
    'Support after discharge from hospital, such as a named nurse and a follow-up visit, lowers the rate of readmission.',
  ],
  bias_detection: [
    'A statement is a stereotype when it ascribes a trait to every member of a group because of their origin, religion or gender.',
    'The sentence generalises from one person to a whole nationality, which makes it a biased claim.',
    'Job advertisements with gendered wording draw fewer applications from the gender that they do not name.',
    'To test a classifier for unfair treatment, swap the name of the group in the sentence and compare the two scores.',
    'Prejudice against older workers assumes that they cannot learn new skills, which the evidence does not support.',
    'Is this remark discriminatory? It judges people by their skin colour and not by what they did, so yes.',
    'Annotators label each comment as hateful, offensive or neutral, and note which group it targets.',
    'A neutral phrasing describes what happened and leaves out assumptions about ethnicity, disability or sexuality.',
  ],
  general_therapeutic: [
    'It sounds as if this week has been a lot for you. What would feel like a small step that you could take today?',
    'Thank you for telling me about that. How did you feel when your sister said she could not come?',
    'Let us try to slow down together: breathe in while you count to four, and out while you count to six.',
    'You said that you are hard on yourself at work. What would you say to a friend in the same place?',
    'I hear that you are proud of how you handled the talk with your manager, and also tired from it.',
    'What has helped you before when you felt this way, even a little?',
    'We could write down the thought, what speaks for it and what speaks against it, and look at both.',
    'Setting a boundary with someone you love can feel unkind, and it can still be good for both of you.',
  ],
};
