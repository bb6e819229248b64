import { inject } from 'vitest';
import { httpSuite, mongoAt } from './suite.ts';

httpSuite('node', 'FerretDB', mongoAt(inject('ferretUri')));
