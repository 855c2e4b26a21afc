// Locks from Node through lockd, with nothing but what Node brings along.
//
// The lock lives exactly as long as the HTTP connection: lockd renews it, and when this process ends, however
// it ends, the lock is released.

/** Somebody else holds the lock, and the time to wait for it is over. */
export class LockHeld extends Error {}

/** The lock ended while it was in use. Whatever is written now may collide with the next holder. */
export class LockLost extends Error {}

/**
 * Runs work({token, signal}) while it holds the lock, and returns what work returns. The signal is aborted
 * when the lock is lost: give it to every slow step.
 */
export async function withLock(url, name, work, {ttl = '15s', wait = '30s', owner = ''} = {}) {
  const connection = new AbortController();
  const response = await fetch(`${url}/v1/locks/${encodeURIComponent(name)}?hold=stream`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({ttl, wait, owner}),
    signal: connection.signal,
  });
  if (!response.ok) {
    const problem = await response.json();
    throw new (response.status === 409 ? LockHeld : Error)(problem.detail);
  }
  const events = lines(response.body);
  const {value: acquired} = await events.next();
  const held = new AbortController();
  const watch = follow(events, held, acquired);
  try {
    const result = await work({token: acquired.token, signal: held.signal});
    held.signal.throwIfAborted();
    return result;
  } finally {
    // A DELETE, so that the lock is free when this returns; the connection ends with it.
    await fetch(`${url}/v1/leases/${acquired.lease}`, {method: 'DELETE', headers: {'Content-Type': 'application/json'}});
    connection.abort();
    await watch;
  }
}

/** Aborts held when an event says that the lock is lost, or when none comes in time. */
async function follow(events, held, {deadline}) {
  const lose = why => held.abort(new LockLost(why));
  let timer;
  const arm = until => {
    clearTimeout(timer);
    timer = setTimeout(lose, Math.max(Date.parse(until) - Date.now(), 0), 'no renewal in time');
  };
  arm(deadline);
  try {
    for await (const event of events) {
      if (event.event === 'renewed') arm(event.deadline);
      if (event.event === 'released') return;
      if (event.event === 'lost') return lose(event.reason);
    }
    lose('lockd closed the connection');
  } catch (error) {
    lose(error.message);
  } finally {
    clearTimeout(timer);
  }
}

/** Yields the JSON value of each line of a stream. */
async function* lines(body) {
  let rest = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop();
    for (const line of parts) if (line) yield JSON.parse(line);
  }
}
