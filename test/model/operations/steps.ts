import type { Actor, World } from '../state.ts';

/**
 * The steps of a verb, by name. A step makes one store call and answers where the actor stands then; null: it has
 * ended. What an actor does not need any more is forgotten, so that equal futures are equal states.
 */
export type Steps<A extends Actor> = {
  readonly [step: string]: (world: World, actor: A, refused: boolean) => A | null;
};
