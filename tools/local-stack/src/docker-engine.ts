import { request } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';

const answersWithinMs = 2_000;

/** Whether a container engine answers at DOCKER_HOST or, without it, at one of the usual sockets. Takes two seconds at most. */
export async function dockerAnswers(env: NodeJS.ProcessEnv): Promise<boolean> {
  const host = env['DOCKER_HOST'];
  const places = host === undefined ? ['/var/run/docker.sock', join(homedir(), '.docker/run/docker.sock')].map((path) => `unix://${path}`) : [host];
  const answers = await Promise.all(places.map((place) => ping(place)));
  return answers.includes(true);
}

function ping(place: string): Promise<boolean> {
  const target = targetOf(place);
  if (target === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    const call = request({ ...target, path: '/_ping', signal: AbortSignal.timeout(answersWithinMs) }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.once('error', () => resolve(false));
    call.end();
  });
}

/** `unix:///path` and `tcp://host:port`; other schemes (ssh, npipe) and TLS are left to a DATABASE_URL and KAFKA_BROKERS. */
function targetOf(place: string): { socketPath: string } | { host: string; port: string } | undefined {
  if (place.startsWith('unix://')) return { socketPath: place.slice('unix://'.length) };
  const url = URL.canParse(place) ? new URL(place) : undefined;
  return url?.protocol === 'tcp:' ? { host: url.hostname, port: url.port || '2375' } : undefined;
}
