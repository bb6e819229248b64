import { inject } from 'vitest';
import { httpSuite, mongoAt } from './suite.ts';

httpSuite('workerd', 'MongoDB (SecantusDB)', mongoAt(inject('secantusUri')));
