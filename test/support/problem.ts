import { expect } from 'vitest';
import type { Answer } from './caller.ts';

/** Asserts that the answer is a problem document (RFC 9457) of exactly the contract's shape. */
export function expectProblem(answer: Answer, status: number, code?: string): void {
  const { json, headers } = answer;
  expect(answer.status, answer.text).toBe(status);
  expect(headers.get('Content-Type')).toMatch(/^application\/problem\+json/);
  expect(json).toMatchObject({
    type: expect.stringMatching(/\S/),
    title: expect.stringMatching(/\S/),
    status,
    detail: expect.stringMatching(/\S/),
    code: code ?? expect.stringMatching(/^[a-z]+(_[a-z]+)*$/),
    request_id: headers.get('X-Request-Id'),
  });
  const known = ['type', 'title', 'status', 'detail', 'code', 'request_id'];
  const invalid = json.code === 'invalid_input';
  const extra = invalid ? ['errors'] : json.code === 'organization_required' ? ['organizations'] : [];
  expect(Object.keys(json).sort()).toEqual([...known, ...extra].sort());
  if (status === 401) expect(headers.get('WWW-Authenticate')).toMatch(/^Bearer\b/);
  if (invalid) {
    expect(json.errors.length).toBeGreaterThan(0);
    for (const error of json.errors) {
      expect(error).toEqual({ path: expect.any(String), message: expect.stringMatching(/\S/) });
    }
  }
}

/** The problem without what differs from request to request. */
export function sameForAll({ status, json }: Answer): unknown {
  const { request_id: _, ...rest } = json;
  return { sent: status, ...rest };
}
