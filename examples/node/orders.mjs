// Ship an order under a lock, and show that a second one is kept out meanwhile.
//
//     go run ./cmd/holdfast dev          # in another terminal
//     node examples/node/orders.mjs
import {LockHeld, withLock} from './holdfast.mjs';

const url = process.env.LOCKD_URL ?? 'http://127.0.0.1:7080';

const first = await withLock(url, 'orders/43', async ({token, signal}) => {
  await withLock(url, 'orders/43', () => console.log('two holders: this must not happen'), {wait: '200ms'})
    .catch(error => {
      if (!(error instanceof LockHeld)) throw error;
      console.log('refused:', error.message);
    });
  signal.throwIfAborted();
  console.log('shipped with a fencing token:', token > 0);
  return token;
}, {owner: 'node'});

await withLock(url, 'orders/43', ({token}) => console.log('the next token is higher:', token > first));
