import { inject } from 'vitest';
import { httpSuite, mongoAt } from './suite.ts';

httpSuite('node', 'MongoDB (SecantusDB)', mongoAt(inject('secantusUri')));
