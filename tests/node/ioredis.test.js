/** ioredis as it comes: the newest, which speaks RESP3, and the one before, which speaks RESP2. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, beforeEach, describe, test } from "node:test";

import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis-5";

import { writeWhileWorkersDie } from "./support/killing.js";
import { Shoal } from "./support/shoal.js";
import { waitUntil, within } from "./support/waiting.js";

const VERSIONS = { "ioredis 6": Redis6, "ioredis 5": Redis5 };

/** Keys of all partitions. */
const KEYS = Array.from({ length: 30 }, (_, number) => `key:${number}`);
const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

for (const [version, Redis] of Object.entries(VERSIONS)) {
  for (const workers of [1, 3]) {
    describe(`${version}, ${workers} workers`, () => {
      let server;
      let redis;
      let opened = [];

      /** Another client, closed at the end of the test. */
      function connect(options = {}) {
        const client = new Redis(server.port, "127.0.0.1", options);
        opened.push(client);
        return client;
      }

      before(async () => {
        server = await Shoal.start(workers);
        redis = new Redis(server.port, "127.0.0.1");
      });
      beforeEach(async () => {
        for (const client of opened) client.disconnect();
        opened = [];
        await redis.flushall();
      });
      after(async () => {
        for (const client of [redis, ...opened]) client.disconnect();
        await server.stop();
      });

      test("strings, keys and numbers", async () => {
        assert.equal(await redis.set("a", "1", "EX", 1000, "NX"), "OK");
        assert.equal(await redis.set("a", "2", "NX"), null);
        assert.ok((await redis.ttl("a")) > 900);
        assert.equal(await redis.incrby("a", 41), 42);
        assert.equal(await redis.incrbyfloat("a", 0.5), "42.5");
        assert.equal(await redis.append("a", "!"), 5);
        assert.equal(await redis.getrange("a", 1, 2), "2.");
        assert.equal(await redis.getex("a", "PERSIST"), "42.5!");
        assert.equal(await redis.getdel("a"), "42.5!");
        assert.equal(await redis.get("a"), null);
        assert.equal(await redis.setbit("bits", 7, 1), 0);
        assert.equal(await redis.bitcount("bits"), 1);
        assert.deepEqual(await redis.bitfield("bits", "GET", "u8", 0, "INCRBY", "u8", 0, 9), [1, 10]);
        assert.equal(await redis.pfadd("seen", "ann", "bob", "ann"), 1);
        assert.equal(await redis.pfcount("seen"), 2);
        assert.equal(await redis.type("bits"), "string");
      });

      test("commands with keys of all partitions", async () => {
        const pairs = KEYS.flatMap((key) => [key, `of ${key}`]);
        assert.equal(await redis.mset(...pairs), "OK");
        assert.deepEqual(await redis.mget(...KEYS, "no"), [...KEYS.map((key) => `of ${key}`), null]);
        assert.equal(await redis.exists(...KEYS), KEYS.length);
        assert.equal(await redis.rename(KEYS[0], KEYS[1]), "OK");
        assert.equal(await redis.get(KEYS[1]), `of ${KEYS[0]}`);
        assert.equal(await redis.copy(KEYS[1], KEYS[0]), 1);
        assert.equal(await redis.dbsize(), KEYS.length);
        assert.deepEqual((await redis.keys("key:*")).sort(), [...KEYS].sort());
        assert.equal(await redis.del(...KEYS), KEYS.length);
        for (const key of KEYS) await redis.sadd(key, "all", key);
        assert.deepEqual(await redis.sinter(...KEYS), ["all"]);
        assert.equal(await redis.sunionstore("union", ...KEYS), KEYS.length + 1);
      });

      test("hashes, lists and sets", async () => {
        assert.equal(await redis.hset("h", { name: "ann", age: 30 }), 2);
        assert.equal(await redis.hset("h", new Map([["town", "Rome"]])), 1);
        assert.deepEqual({ ...(await redis.hgetall("h")) }, { name: "ann", age: "30", town: "Rome" });
        assert.deepEqual({ ...(await redis.hgetall("no")) }, {});
        assert.deepEqual(await redis.hmget("h", "age", "no"), ["30", null]);
        assert.equal(await redis.hincrby("h", "age", 1), 31);
        assert.deepEqual(await redis.hpexpire("h", 100_000, "FIELDS", 2, "age", "no"), [1, -2]);
        assert.equal(await redis.rpush("l", 1, 2, 3), 3);
        assert.deepEqual(await redis.lrange("l", 0, -1), ["1", "2", "3"]);
        assert.equal(await redis.lmove("l", "other", "LEFT", "RIGHT"), "1");
        assert.deepEqual(await redis.lmpop(2, "no", "l", "RIGHT", "COUNT", 2), ["l", ["3", "2"]]);
        assert.equal(await redis.lpos("other", "1"), 0);
        assert.equal(await redis.sadd("s", ["x", "y"]), 2);
        assert.deepEqual(await redis.smismember("s", "x", "z"), [1, 0]);
        assert.deepEqual((await redis.smembers("s")).sort(), ["x", "y"]);
        assert.equal(await redis.smove("s", "t", "x"), 1);
      });

      test("sorted sets and places", async () => {
        assert.equal(await redis.zadd("z", 1, "one", 2.5, "more", "-inf", "least"), 3);
        assert.equal(await redis.zscore("z", "more"), "2.5");
        assert.deepEqual(await redis.zrange("z", 0, -1, "WITHSCORES"), [
          ...["least", "-inf"],
          ...["one", "1"],
          ...["more", "2.5"],
        ]);
        assert.deepEqual(await redis.zrangebyscore("z", "(1", "+inf"), ["more"]);
        assert.equal(await redis.zincrby("z", 2, "one"), "3");
        assert.deepEqual(await redis.zpopmax("z"), ["one", "3"]);
        assert.equal(await redis.zrank("z", "more"), 1);
        assert.equal(await redis.zunionstore("sum", 2, "z", "other", "WEIGHTS", 2, 1), 2);
        assert.equal(await redis.geoadd("g", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"), 2);
        assert.equal(await redis.geodist("g", "Palermo", "Catania", "km"), "166.2742");
        const near = ["FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "ASC"];
        assert.deepEqual(await redis.geosearch("g", ...near), ["Catania", "Palermo"]);
      });

      test("streams and consumer groups", async () => {
        const first = await redis.xadd("st", "*", "n", 1, "word", "one");
        const second = await redis.xadd("st", "MAXLEN", "~", 1000, "*", "n", 2);
        assert.deepEqual(await redis.xrange("st", "-", "+"), [
          [first, ["n", "1", "word", "one"]],
          [second, ["n", "2"]],
        ]);
        assert.deepEqual(await redis.xread("STREAMS", "st", first), [["st", [[second, ["n", "2"]]]]]);
        assert.equal(await redis.xgroup("CREATE", "st", "group", "0"), "OK");
        const ann = ["GROUP", "group", "ann"];
        assert.deepEqual(await redis.xreadgroup(...ann, "COUNT", 1, "STREAMS", "st", ">"), [
          ["st", [[first, ["n", "1", "word", "one"]]]],
        ]);
        assert.deepEqual(await redis.xpending("st", "group"), [1, first, first, [["ann", "1"]]]);
        const [cursor, claimed] = await redis.xautoclaim("st", "group", "bob", 0, "0");
        assert.deepEqual([cursor, claimed.length], ["0-0", 1]);
        assert.equal(await redis.xack("st", "group", first), 1);
        assert.equal(await redis.xlen("st"), 2);
        await assert.rejects(redis.xgroup("CREATE", "st", "group", "0"), /^ReplyError: BUSYGROUP/);
        const [group] = await redis.xinfo("GROUPS", "st");
        assert.equal(group[group.indexOf("consumers") + 1], 2);
      });

      test("binary keys and values", async () => {
        assert.equal(await redis.set(EVERY_BYTE, EVERY_BYTE), "OK");
        assert.deepEqual(await redis.getBuffer(EVERY_BYTE), EVERY_BYTE);
        await redis.hset("h", EVERY_BYTE, EVERY_BYTE);
        assert.deepEqual(await redis.hvalsBuffer("h"), [EVERY_BYTE]);
        const big = Buffer.alloc(3_000_000, EVERY_BYTE);
        await redis.set("big", big);
        assert.ok((await redis.getBuffer("big")).equals(big));
        assert.deepEqual(await redis.callBuffer("ECHO", EVERY_BYTE), EVERY_BYTE);
        assert.equal(await redis.get("no such key \r\n"), null);
        assert.equal(await redis.set("word", "žluťoučký 🐎"), "OK");
        assert.equal(await redis.get("word"), "žluťoučký 🐎");
      });

      test("a pipeline over all partitions, with an error in it", async () => {
        const pipeline = redis.pipeline();
        for (const key of KEYS) pipeline.set(key, key).append(key, "!").get(key).lpush(key, "x");
        const replies = await pipeline.exec();
        assert.equal(replies.length, 4 * KEYS.length);
        KEYS.forEach((key, at) => {
          const [set, append, get, push] = replies.slice(4 * at, 4 * at + 4);
          assert.deepEqual([set, append, get], [
            [null, "OK"],
            [null, key.length + 1],
            [null, `${key}!`],
          ]);
          assert.match(push[0].message, /^WRONGTYPE /);
        });
      });

      test("transactions over all partitions", async () => {
        const transaction = redis.multi();
        for (const key of KEYS) transaction.set(key, 1).incr(key);
        transaction.mget(...KEYS).lpush(KEYS[0], "x").ping();
        const replies = await transaction.exec();
        assert.deepEqual(replies[1], [null, 2]);
        assert.deepEqual(replies.at(-3), [null, KEYS.map(() => "2")]);
        assert.match(replies.at(-2)[0].message, /^WRONGTYPE /);
        assert.deepEqual(replies.at(-1), [null, "PONG"]);

        await redis.multi({ pipeline: false });
        assert.equal(await redis.set("a", 1), "QUEUED");
        await assert.rejects(redis.call("nosuch"), /unknown command/);
        await assert.rejects(redis.exec(), /^ReplyError: EXECABORT/);
        await redis.multi({ pipeline: false });
        assert.equal(await redis.set("a", 1), "QUEUED");
        assert.equal(await redis.discard(), "OK");
        assert.equal(await redis.exists("a"), 0);
      });

      test("WATCH", async () => {
        const other = connect();
        await redis.mset("a", 1, "b", 2);
        await redis.watch("a", "b");
        await other.incr("b");
        assert.equal(await redis.multi().incr("a").incr("b").exec(), null);
        await redis.watch("a", "b");
        assert.deepEqual(await redis.multi().incr("a").incr("b").exec(), [
          [null, 2],
          [null, 4],
        ]);
      });

      test("optimistic increments of many clients lose nothing", async () => {
        const clients = Array.from({ length: 5 }, () => connect());
        const increment = async (client) => {
          for (let left = 10; left > 0; ) {
            await client.watch("a", "b");
            const value = Number(await client.get("a")) + 1;
            if ((await client.multi().set("a", value).set("b", value).exec()) !== null) left -= 1;
          }
        };
        await within(Promise.all(clients.map(increment)), "all increments");
        assert.deepEqual(await redis.mget("a", "b"), ["50", "50"]);
      });

      test("channels, patterns and sharded channels", async () => {
        const subscriber = connect();
        const heard = [];
        subscriber.on("message", (channel, message) => heard.push([channel, message]));
        subscriber.on("pmessage", (...told) => heard.push(told));
        subscriber.on("smessage", (channel, message) => heard.push(["sharded", channel, message]));
        assert.equal(await subscriber.subscribe("news", "sport"), 2);
        assert.equal(await subscriber.psubscribe("n*"), 3);
        assert.equal(await subscriber.ssubscribe("shard"), 1);
        assert.equal(await redis.publish("news", "first"), 2);
        assert.equal(await redis.publish("sport", "second"), 1);
        assert.equal(await redis.spublish("shard", "third"), 1);
        assert.equal(await redis.publish("nobody's", "fourth"), 1);
        assert.equal(await subscriber.unsubscribe("news"), 2);
        assert.equal(await redis.publish("news", "fifth"), 1);
        await waitUntil(() => heard.length === 6, "six messages");
        assert.deepEqual(heard.filter(([kind]) => kind !== "sharded"), [
          ["news", "first"],
          ["n*", "news", "first"],
          ["sport", "second"],
          ["n*", "nobody's", "fourth"],
          ["n*", "news", "fifth"],
        ]);
        assert.deepEqual(heard.filter(([kind]) => kind === "sharded"), [["sharded", "shard", "third"]]);
        assert.deepEqual(await redis.pubsub("CHANNELS"), ["sport"]);
        const binary = once(subscriber, "messageBuffer");
        await redis.publish("sport", EVERY_BYTE);
        assert.deepEqual((await within(binary, "a binary message"))[1], EVERY_BYTE);
      });

      test("scripts as commands", async () => {
        const client = connect({
          scripts: {
            add: {
              numberOfKeys: 2,
              lua: "return redis.call('INCRBY', KEYS[1], ARGV[1]) + redis.call('INCRBY', KEYS[2], ARGV[1])",
            },
          },
        });
        assert.equal(await client.add("a", "b", 5), 10);
        await redis.script("FLUSH"); // the client tries EVALSHA, and then sends the text again
        assert.equal(await client.add("a", "b", 5), 20);
        client.defineCommand("echoed", { lua: "return {KEYS[1], ARGV[1], false, 7}" });
        assert.deepEqual(await client.echoed(1, "key", "argument"), ["key", "argument", null, 7]);
        assert.deepEqual((await client.echoedBuffer(1, EVERY_BYTE, EVERY_BYTE))[1], EVERY_BYTE);
        await redis.script("FLUSH");
        const pipeline = client.pipeline();
        for (const key of KEYS) pipeline.set(key, 1).add(key, `${key}'`, 2).echoed(1, key, "x");
        const replies = await pipeline.exec();
        assert.deepEqual(replies.slice(-2), [
          [null, 5],
          [null, [KEYS.at(-1), "x", null, 7]],
        ]);
        client.defineCommand("fails", { numberOfKeys: 1, lua: "return redis.call('LPUSH', KEYS[1], 1)" });
        await assert.rejects(client.fails("a"), /^ReplyError: WRONGTYPE/);
        const transaction = client.multi().add("a", "b", 1).get("a");
        assert.deepEqual(await transaction.exec(), [
          [null, 22],
          [null, "11"],
        ]);
      });

      test("functions", async () => {
        const library = "#!lua name=lib\nredis.register_function('twice', function(keys, args) "
          + "return redis.call('INCRBY', keys[1], args[1] * 2) end)";
        assert.equal(await redis.function("LOAD", "REPLACE", library), "lib");
        assert.equal(await redis.fcall("twice", 1, "a", 21), 42);
        assert.equal(await redis.function("DELETE", "lib"), "OK");
      });

      test("blocking commands", async () => {
        const waiting = connect();
        const popped = waiting.blpop(...KEYS, 0);
        const sent = waiting.get("a"); // waits behind it
        await blocked(1);
        await redis.rpush(KEYS[7], "pushed");
        assert.deepEqual(await within(popped, "the pop"), [KEYS[7], "pushed"]);
        assert.equal(await sent, null);
        const least = waiting.bzpopmin("z1", "z2", 0);
        await blocked(1);
        await redis.zadd("z2", 1.5, "member");
        assert.deepEqual(await within(least, "the least"), ["z2", "member", "1.5"]);
        const read = waiting.xread("BLOCK", 0, "STREAMS", "st", "$");
        await blocked(1);
        const id = await redis.xadd("st", "*", "n", 1);
        assert.deepEqual(await within(read, "the entry"), [["st", [[id, ["n", "1"]]]]]);
        assert.equal(await waiting.blpop("no", "nothing", 0.01), null);
        assert.equal(await waiting.blmove("no", "nothing", "LEFT", "LEFT", 0.01), null);
      });

      async function blocked(count) {
        const shown = new RegExp(`^blocked_clients:${count}\\r$`, "m");
        await waitUntil(async () => shown.test(await redis.info("clients")), `${count} blocked`);
      }

      test("many consumers take each element once", async () => {
        const consumers = Array.from({ length: 6 }, () => connect());
        const taken = [];
        const consume = async (client) => {
          for (;;) {
            const [, element] = await client.brpop("jobs", "more jobs", 0);
            if (element === "end") return;
            taken.push(Number(element));
          }
        };
        const all = Promise.all(consumers.map(consume));
        const numbers = Array.from({ length: 200 }, (_, number) => number);
        await Promise.all(numbers.map((number) => redis.lpush(number % 2 ? "jobs" : "more jobs", number)));
        await waitUntil(() => taken.length === 200, "all are taken");
        for (const _ of consumers) await redis.lpush("jobs", "end");
        await within(all, "the consumers");
        assert.deepEqual(
          taken.sort((one, other) => one - other),
          numbers,
        );
      });

      test("automatic pipelines", async () => {
        const client = connect({ enableAutoPipelining: true });
        const set = await Promise.all(KEYS.map((key) => client.set(key, key)));
        assert.ok(set.every((reply) => reply === "OK"));
        const got = Promise.all(KEYS.map((key) => client.get(key)));
        assert.ok(client.autoPipelineQueueSize > 0);
        assert.deepEqual(await got, KEYS);
        const mixed = await Promise.allSettled([
          client.incr("n"),
          client.lpush(KEYS[0], 1),
          client.incr("n"),
        ]);
        assert.deepEqual(
          mixed.map((outcome) => outcome.value ?? outcome.reason.message.split(" ")[0]),
          [1, "WRONGTYPE", 2],
        );
      });

      test("scans find everything", async () => {
        await redis.mset(...KEYS.flatMap((key) => [key, "x"]));
        const members = Array.from({ length: 1000 }, (_, number) => `member:${number}`);
        await redis.sadd("s", members);
        await redis.hset("h", Object.fromEntries(members.map((member) => [member, "v"])));
        await redis.zadd("z", ...members.flatMap((member, score) => [score, member]));
        const all = async (stream) => {
          const found = [];
          for await (const piece of stream) found.push(...piece);
          return [...new Set(found)].sort();
        };
        assert.deepEqual(await all(redis.scanStream({ match: "key:*", count: 7 })), [...KEYS].sort());
        assert.deepEqual(await all(redis.scanStream({ type: "zset" })), ["z"]);
        assert.deepEqual(await all(redis.sscanStream("s")), [...members].sort());
        assert.deepEqual(await all(redis.hscanStream("h", { noValues: true })), [...members].sort());
        const scored = await all(redis.zscanStream("z", { match: "member:99?" }));
        assert.equal(scored.filter((word) => word.startsWith("member")).length, 10);
      });

      test("databases, names, prefixes, replies as numbers of any size", async () => {
        const client = connect({ db: 3, connectionName: "ann", keyPrefix: "app:", stringNumbers: true });
        assert.equal(await client.client("GETNAME"), "ann");
        await client.set("a", "in 3");
        assert.equal(await redis.get("app:a"), null);
        await redis.select(3);
        assert.equal(await redis.get("app:a"), "in 3");
        await redis.select(0);
        assert.deepEqual(await client.mget("a", "no"), ["in 3", null]);
        await client.set("n", "9007199254740993");
        assert.equal(await client.incr("n"), "9007199254740994");
      });

      test("MONITOR", async () => {
        const monitor = await connect().monitor();
        opened.push(monitor);
        const seen = [];
        monitor.on("monitor", (time, words) => seen.push(words));
        await redis.set(KEYS[3], "v");
        await waitUntil(() => seen.length > 0, "the command is shown");
        assert.deepEqual(seen, [["set", KEYS[3], "v"]]);
      });

      test("a password", async () => {
        await redis.config("SET", "requirepass", "secret");
        try {
          assert.equal(await connect({ password: "secret" }).ping(), "PONG");
          const refused = connect({ retryStrategy: null });
          refused.on("error", () => {}); // said below
          await assert.rejects(refused.ping(), /NOAUTH|Connection is closed/);
        } finally {
          await redis.config("SET", "requirepass", "");
        }
      });

      test("clients come back after their worker was killed", async () => {
        const clients = Array.from({ length: 6 }, () => connect());
        const subscriber = connect();
        await subscriber.subscribe("news");
        await Promise.all(clients.map((client) => client.ping()));
        let closed = 0;
        for (const client of clients) client.on("close", () => (closed += 1));
        const acknowledged = await writeWhileWorkersDie(server, clients);
        assert.ok(closed >= clients.length, `${closed} connections were closed`);
        const found = await Promise.all(acknowledged.map((key) => clients[0].get(key)));
        assert.deepEqual(found, acknowledged);
        const message = once(subscriber, "message");
        await waitUntil(async () => (await redis.publish("news", "again")) === 1, "it has subscribed anew");
        assert.deepEqual(await within(message, "the message"), ["news", "again"]);
      });
    });
  }
}
