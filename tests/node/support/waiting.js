/** Waiting for conditions and events. The bounds only turn a hang into a failure. */

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

const BOUND_MS = 30_000;
const BETWEEN_LOOKS_MS = 5;

/** Look again and again until the condition holds, and return its value. */
export async function waitUntil(condition, what) {
  const deadline = Date.now() + BOUND_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < deadline, `still not so after ${BOUND_MS} ms: ${what}`);
    await pause(BETWEEN_LOOKS_MS);
  }
}

/** Return the promise's value, or fail when it takes too long. */
export async function within(promise, what) {
  const stop = new AbortController();
  const late = pause(BOUND_MS, undefined, { signal: stop.signal }).then(() =>
    assert.fail(`nothing after ${BOUND_MS} ms: ${what}`),
  );
  late.catch(() => {}); // aborted, when the promise was in time
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}
