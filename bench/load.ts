import { Agent, request } from 'node:http';

export type Load = {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

export type Measured = {
  /** Requests answered in a second. */
  readonly rate: number;
  /** Milliseconds in which half, and 99 of 100, were answered. */
  readonly p50: number;
  readonly p99: number;
};

/**
 * Asks the same again and again over so many connections kept alive, for so many seconds.
 * @throws {Error} at the first answer that is not a 2xx: what fails fast is no measure of speed
 */
export async function measure(load: Load, connections: number, seconds: number): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const times: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  const ask = async () => {
    while (performance.now() < end) {
      const asked = performance.now();
      await send(load, agent);
      times.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: connections }, ask));
  const elapsed = (performance.now() - start) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { rate: times.length / elapsed, p50: at(0.5), p99: at(0.99) };
}

function send({ url, method = 'GET', headers, body }: Load, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, agent, headers: { ...headers } }, (response) => {
      const { statusCode = 0 } = response;
      response.resume();
      response.on('end', () => {
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`${method} ${url} answered ${statusCode}.`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
