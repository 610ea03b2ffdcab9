/** Clients that write while each worker in turn is killed. */

import assert from "node:assert/strict";

import { within } from "./waiting.js";

/** What a client hears whose connection, or the owner of whose key, has died. */
const LOST =
  /ERR the worker that owns the key died|TRYAGAIN|LOADING|closed|ECONNRESET|ECONNREFUSED|EPIPE/;

/** Tell whether the text of an error says that a worker has died. */
export const wasLost = (text) => LOST.test(text);

/**
 * Let each client SET one key after the other until every worker has been killed and is back.
 * Return the keys whose SET was acknowledged; the value of a key is its name.
 */
export async function writeWhileWorkersDie(server, clients) {
  const acknowledged = [];
  const refusals = [];
  for (let killed = 0; killed < server.workers; killed += 1) {
    let goesOn = true;
    const writing = clients.map(async (client, writer) => {
      for (let number = 0; goesOn; number += 1) {
        const key = `${killed}:${writer}:${number}`;
        try {
          await client.set(key, key);
          acknowledged.push(key);
        } catch (error) {
          refusals.push(error.message);
        }
      }
    });
    await server.killWorker(killed);
    goesOn = false;
    await within(Promise.all(writing), "the writers");
  }
  assert.deepEqual(refusals.filter((message) => !wasLost(message)), []);
  assert.ok(acknowledged.length > 0);
  return acknowledged;
}
