import { inject } from 'vitest';
import { httpSuite, mongoAt } from './suite.ts';

httpSuite('bun', 'MongoDB (SecantusDB)', mongoAt(inject('secantusUri')));
