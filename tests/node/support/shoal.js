/**
 * A Shoal for the tests: on loopback, on a port that the kernel chose, in a directory of its own.
 *
 * Its output is kept for the message of a failure. It is ended by its pid, also when the tests fail
 * or are interrupted.
 */

import assert from "node:assert/strict";
import { spawn, execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { waitUntil } from "./waiting.js";

const PYTHON = fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));
const SHOAL = ["-m", "shoal.supervisor"];
const LISTENING = /Listening on (\S+):(\d+)$/;
const READY = "Ready to accept connections";

/** The servers that run: none may outlive this process. */
const running = new Set();

process.once("exit", () => {
  for (const server of running) server.kill();
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

export class Shoal {
  /** Start a server with so many workers and wait until it serves. */
  static async start(workers) {
    const server = new Shoal();
    server.workers = workers;
    server.directory = await mkdtemp(join(tmpdir(), "shoal-node-"));
    server.output = [];
    const where = ["--port", "0", "--bind", "127.0.0.1", "--dir", server.directory];
    // always: under everysec what was acknowledged behind a slow fsync may go with a killed worker.
    const how = ["--workers", String(workers), "--appendfsync", "always"];
    server.child = spawn(PYTHON, [...SHOAL, "serve", ...where, ...how], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true, // a process group of its own, so that all of it can be ended
    });
    running.add(server);
    server.ended = once(server.child, "exit");
    await server.#untilReady();
    return server;
  }

  async #untilReady() {
    const lines = createInterface({ input: this.child.stdout });
    const ready = new Promise((resolve) => {
      lines.on("line", (line) => {
        this.output.push(line);
        const listening = LISTENING.exec(line);
        if (listening !== null) this.port = Number(listening[2]);
        if (line.includes(READY)) resolve(true);
      });
    });
    if (!(await Promise.race([ready, this.ended.then(() => false)]))) {
      assert.fail(`the server ended before it was ready:\n${this.output.join("\n")}`);
    }
  }

  /** What `shoal ctl status --json` says. */
  async status() {
    const socket = join(this.directory, "shoal.sock");
    const ctl = [...SHOAL, "ctl", "--socket", socket, "status", "--json"];
    const { stdout } = await promisify(execFile)(PYTHON, ctl);
    return JSON.parse(stdout);
  }

  /** Kill a worker process, without warning, and wait until its successor serves. */
  async killWorker(number) {
    const before = (await this.status()).workers[number];
    process.kill(before.pid, "SIGKILL");
    await waitUntil(async () => {
      const now = (await this.status()).workers[number];
      return now.pid !== before.pid && now.state === "serving";
    }, `worker ${number} serves again`);
  }

  /** End it in order, insist on exit code 0, and delete its directory. */
  async stop() {
    this.child.kill("SIGTERM");
    const [code, signal] = await this.ended;
    running.delete(this);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, this.output.join("\n"));
    await rm(this.directory, { recursive: true });
  }

  /** End it and its workers at once. */
  kill() {
    try {
      process.kill(-this.child.pid, "SIGKILL"); // the group that it leads
    } catch (error) {
      if (error.code !== "ESRCH") throw error; // ESRCH: all of them have ended
    }
  }
}
