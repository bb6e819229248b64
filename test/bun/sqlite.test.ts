import '../contract/sqlite.test.ts';
