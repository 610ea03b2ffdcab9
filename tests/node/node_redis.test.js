/** node-redis as it comes: the newest in RESP3 and in RESP2, and the one before. */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import * as redis6 from "redis";
import * as redis5 from "redis-5";

import { writeWhileWorkersDie } from "./support/killing.js";
import { Shoal } from "./support/shoal.js";
import { waitUntil, within } from "./support/waiting.js";

const RUNS = [
  { version: "node-redis 6", library: redis6, RESP: 3 },
  { version: "node-redis 6", library: redis6, RESP: 2 },
  { version: "node-redis 5", library: redis5, RESP: 2 },
];

/** Keys of all partitions. */
const KEYS = Array.from({ length: 30 }, (_, number) => `key:${number}`);
const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

for (const { version, library, RESP } of RUNS) {
  for (const workers of [1, 3]) {
    describe(`${version}, RESP${RESP}, ${workers} workers`, () => {
      const { createClient, createClientPool, defineScript, RESP_TYPES } = library;
      let server;
      let redis;
      let opened = [];

      const options = (more) => ({ socket: { port: server.port, host: "127.0.0.1" }, RESP, ...more });

      /** Another client, closed at the end of the test. */
      async function connect(more) {
        const client = createClient(options(more));
        opened.push(client);
        client.on("error", () => {}); // the commands that are under way reject too
        await client.connect();
        return client;
      }

      before(async () => {
        server = await Shoal.start(workers);
        redis = createClient(options());
        redis.on("error", () => {});
        await redis.connect();
      });
      beforeEach(async () => {
        for (const client of opened) client.destroy();
        opened = [];
        await redis.flushAll();
      });
      after(async () => {
        for (const client of [redis, ...opened]) client.destroy();
        await server.stop();
      });

      const inBytes = () => redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

      async function blocked(count) {
        const shown = new RegExp(`^blocked_clients:${count}\\r$`, "m");
        await waitUntil(async () => shown.test(await redis.info("clients")), `${count} blocked`);
      }

      test("strings, keys and numbers", async () => {
        assert.equal(await redis.set("a", "1", { expiration: { type: "EX", value: 1000 } }), "OK");
        assert.equal(await redis.set("a", "2", { condition: "NX" }), null);
        assert.ok((await redis.ttl("a")) > 900);
        assert.equal(await redis.incrBy("a", 41), 42);
        assert.equal(await redis.incrByFloat("a", 0.5), "42.5");
        assert.equal(await redis.getEx("a", { type: "PERSIST" }), "42.5");
        assert.equal(await redis.getDel("a"), "42.5");
        assert.equal(await redis.setBit("bits", 7, 1), 0);
        assert.equal(await redis.bitCount("bits"), 1);
        assert.equal(await redis.pfAdd("seen", ["ann", "bob", "ann"]), 1);
        assert.equal(await redis.pfCount("seen"), 2);
        assert.equal(await redis.type("bits"), "string");
        assert.equal(await redis.expire("bits", 100, "NX"), 1);
      });

      test("commands with keys of all partitions", async () => {
        assert.equal(await redis.mSet(Object.fromEntries(KEYS.map((key) => [key, `of ${key}`]))), "OK");
        assert.deepEqual(await redis.mGet([...KEYS, "no"]), [...KEYS.map((key) => `of ${key}`), null]);
        assert.equal(await redis.exists(KEYS), KEYS.length);
        assert.equal(await redis.rename(KEYS[0], KEYS[1]), "OK");
        assert.equal(await redis.copy(KEYS[1], KEYS[0]), 1);
        assert.equal(await redis.dbSize(), KEYS.length);
        assert.deepEqual((await redis.keys("key:*")).sort(), [...KEYS].sort());
        assert.equal(await redis.unlink(KEYS), KEYS.length);
        for (const key of KEYS) await redis.sAdd(key, ["all", key]);
        assert.deepEqual(await redis.sInter(KEYS), ["all"]);
        assert.equal(await redis.sUnionStore("union", KEYS), KEYS.length + 1);
      });

      test("hashes, lists and sets", async () => {
        assert.equal(await redis.hSet("h", { name: "ann", age: 30 }), 2);
        assert.deepEqual({ ...(await redis.hGetAll("h")) }, { name: "ann", age: "30" });
        assert.deepEqual({ ...(await redis.hGetAll("no")) }, {});
        assert.deepEqual(await redis.hmGet("h", ["age", "no"]), ["30", null]);
        assert.deepEqual(await redis.hpExpire("h", ["age", "no"], 100_000), [1, -2]);
        assert.equal(await redis.rPush("l", ["1", "2", "3"]), 3);
        assert.deepEqual(await redis.lRange("l", 0, -1), ["1", "2", "3"]);
        assert.equal(await redis.lMove("l", "other", "LEFT", "RIGHT"), "1");
        assert.deepEqual(await redis.lmPop(["no", "l"], "RIGHT", { COUNT: 2 }), ["l", ["3", "2"]]);
        assert.equal(await redis.sAdd("s", ["x", "y"]), 2);
        assert.deepEqual(await redis.smIsMember("s", ["x", "z"]), [1, 0]);
        assert.deepEqual([...(await redis.sMembers("s"))].sort(), ["x", "y"]);
      });

      test("sorted sets and places", async () => {
        const members = [
          { value: "one", score: 1 },
          { value: "more", score: 2.5 },
          { value: "least", score: -Infinity },
        ];
        assert.equal(await redis.zAdd("z", members), 3);
        assert.equal(await redis.zScore("z", "more"), 2.5);
        assert.equal(await redis.zScore("z", "no"), null);
        assert.deepEqual(
          (await redis.zRangeWithScores("z", 0, -1)).map(({ value, score }) => [value, score]),
          [
            ["least", -Infinity],
            ["one", 1],
            ["more", 2.5],
          ],
        );
        assert.equal(await redis.zIncrBy("z", 2, "one"), 3);
        assert.deepEqual({ ...(await redis.zPopMax("z")) }, { value: "one", score: 3 });
        assert.deepEqual(await redis.zmScore("z", ["more", "no"]), [2.5, null]);
        const places = [
          { member: "Palermo", longitude: 13.361389, latitude: 38.115556 },
          { member: "Catania", longitude: 15.087269, latitude: 37.502669 },
        ];
        assert.equal(await redis.geoAdd("g", places), 2);
        assert.equal(await redis.geoDist("g", "Palermo", "Catania", "km"), 166.2742);
        const from = { longitude: 15, latitude: 37 };
        assert.deepEqual(await redis.geoSearch("g", from, { radius: 200, unit: "km" }, { SORT: "ASC" }), [
          "Catania",
          "Palermo",
        ]);
      });

      test("streams and consumer groups", async () => {
        const first = await redis.xAdd("st", "*", { n: "1" });
        const second = await redis.xAdd("st", "*", { n: "2" });
        const plain = (entries) => entries.map(({ id, message }) => [id, { ...message }]);
        assert.deepEqual(plain(await redis.xRange("st", "-", "+")), [
          [first, { n: "1" }],
          [second, { n: "2" }],
        ]);
        const [read] = await redis.xRead({ key: "st", id: first });
        assert.deepEqual([read.name, plain(read.messages)], ["st", [[second, { n: "2" }]]]);
        assert.equal(await redis.xGroupCreate("st", "group", "0"), "OK");
        const [given] = await redis.xReadGroup("group", "ann", { key: "st", id: ">" }, { COUNT: 1 });
        assert.deepEqual(plain(given.messages), [[first, { n: "1" }]]);
        const pending = await redis.xPending("st", "group");
        assert.deepEqual([pending.pending, pending.firstId], [1, first]);
        const claimed = await redis.xAutoClaim("st", "group", "bob", 0, "0");
        assert.deepEqual(plain(claimed.messages), [[first, { n: "1" }]]);
        assert.equal(await redis.xAck("st", "group", first), 1);
        const [group] = await redis.xInfoGroups("st");
        assert.deepEqual([group.name, group.consumers, group.pending], ["group", 2, 0]);
        assert.equal((await redis.xInfoStream("st")).length, 2);
      });

      test("binary keys and values", async () => {
        const bytes = inBytes();
        assert.equal(await redis.set(EVERY_BYTE, EVERY_BYTE), "OK");
        assert.deepEqual(await bytes.get(EVERY_BYTE), EVERY_BYTE);
        await redis.hSet("h", EVERY_BYTE, EVERY_BYTE);
        assert.deepEqual(await bytes.hVals("h"), [EVERY_BYTE]);
        const big = Buffer.alloc(3_000_000, EVERY_BYTE);
        await redis.set("big", big);
        assert.ok((await bytes.get("big")).equals(big));
      });

      test("many commands at once, and some that fail", async () => {
        const replies = await Promise.allSettled(
          KEYS.flatMap((key) => [redis.set(key, key), redis.lPush(key, "x"), redis.get(key)]),
        );
        KEYS.forEach((key, at) => {
          const [set, push, get] = replies.slice(3 * at, 3 * at + 3);
          assert.deepEqual([set.value, get.value], ["OK", key]);
          assert.match(push.reason.message, /^WRONGTYPE /);
        });
        const pipeline = redis.multi().set("a", "1").incr("a").hSet("h", "f", "v");
        assert.deepEqual(await pipeline.execAsPipeline(), ["OK", 2, 1]);
      });

      test("transactions over all partitions", async () => {
        const transaction = redis.multi();
        for (const key of KEYS) transaction.set(key, "1").incr(key);
        const replies = await transaction.mGet(KEYS).ping().exec();
        assert.deepEqual(replies.slice(0, 2), ["OK", 2]);
        assert.deepEqual(replies.slice(-2), [KEYS.map(() => "2"), "PONG"]);
        const failing = redis.multi().set("a", "x").incr("a").get("a").exec();
        await assert.rejects(failing, (error) => {
          assert.deepEqual(error.errorIndexes, [1]);
          return error.replies[2] === "x";
        });
        const refused = redis.multi().set("a", "y").addCommand(["NOSUCH"]).exec();
        await assert.rejects(refused, /EXECABORT|unknown command/);
        assert.equal(await redis.get("a"), "x");
      });

      test("WATCH", async () => {
        const client = await connect();
        await client.watch(["a", "b"]);
        await redis.set("b", "changed");
        await assert.rejects(client.multi().set("a", "1").exec(), library.WatchError);
        await client.watch(["a", "b"]);
        assert.deepEqual(await client.multi().set("a", "1").get("b").exec(), ["OK", "changed"]);
      });

      test("channels, patterns and sharded channels", async () => {
        const subscriber = await connect();
        const heard = [];
        const listen = (message, channel) => heard.push([channel, message]);
        await subscriber.subscribe(["news", "sport"], listen);
        await subscriber.pSubscribe("n*", (message, channel) => heard.push([`n*: ${channel}`, message]));
        await subscriber.sSubscribe("shard", (message, channel) => heard.push([`s: ${channel}`, message]));
        assert.equal(await redis.publish("news", "first"), 2);
        assert.equal(await redis.sPublish("shard", "second"), 1);
        await subscriber.unsubscribe("news", listen);
        assert.equal(await redis.publish("news", "third"), 1);
        assert.equal(await redis.publish("sport", "fourth"), 1);
        await waitUntil(() => heard.length === 5, "five messages");
        assert.deepEqual(heard.filter(([channel]) => !channel.startsWith("s:")), [
          ["news", "first"],
          ["n*: news", "first"],
          ["n*: news", "third"],
          ["sport", "fourth"],
        ]);
        assert.deepEqual(heard.filter(([channel]) => channel.startsWith("s:")), [["s: shard", "second"]]);
        // In RESP3 a subscriber may go on with commands; in RESP2 only PING and its kind.
        if (RESP === 3) assert.equal(await subscriber.set("a", "1"), "OK");
        const bytes = new Promise((resolve) => void subscriber.subscribe("bytes", resolve, true));
        await waitUntil(async () => (await redis.publish("bytes", EVERY_BYTE)) === 1, "it subscribes");
        assert.deepEqual(await within(bytes, "a binary message"), EVERY_BYTE);
      });

      test("scripts and functions as commands", async () => {
        const add = defineScript({
          NUMBER_OF_KEYS: 2,
          SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1]) + redis.call('INCRBY', KEYS[2], ARGV[1])",
          parseCommand: (parser, one, other, amount) => {
            parser.pushKey(one);
            parser.pushKey(other);
            parser.push(String(amount));
          },
          transformReply: (reply) => reply,
        });
        const twice = {
          NUMBER_OF_KEYS: 1,
          parseCommand: (parser, key, amount) => {
            parser.pushKey(key);
            parser.push(String(amount));
          },
          transformReply: (reply) => reply,
        };
        const client = await connect({ scripts: { add }, functions: { lib: { twice } } });
        assert.equal(await client.add("a", "b", 5), 10);
        await redis.scriptFlush(); // the client tries EVALSHA, and then sends the text again
        assert.equal(await client.add("a", "b", 5), 20);
        assert.deepEqual(await client.multi().add("a", "b", 1).get("a").exec(), [22, "11"]);
        const library = "#!lua name=lib\nredis.register_function('twice', function(keys, args) "
          + "return redis.call('INCRBY', keys[1], args[1] * 2) end)";
        await redis.functionLoad(library, { REPLACE: true });
        assert.equal(await client.lib.twice("n", 21), 42);
        assert.deepEqual(
          (await redis.functionList()).map((found) => found.library_name),
          ["lib"],
        );
        await redis.functionDelete("lib");
        const table = "return {KEYS[1], ARGV[1], false, 7, {ok='fine'}}";
        assert.deepEqual(await redis.eval(table, { keys: ["k"], arguments: ["x"] }), ["k", "x", null, 7, "fine"]);
      });

      test("blocking commands", async () => {
        const waiting = await connect();
        const popped = waiting.blPop(KEYS, 0);
        await blocked(1);
        await redis.rPush(KEYS[7], "pushed");
        assert.deepEqual({ ...(await within(popped, "the pop")) }, { key: KEYS[7], element: "pushed" });
        const least = waiting.bzPopMin(["z1", "z2"], 0);
        await blocked(1);
        await redis.zAdd("z2", { value: "member", score: 1.5 });
        assert.deepEqual({ ...(await within(least, "the least")) }, { key: "z2", value: "member", score: 1.5 });
        const read = waiting.xRead({ key: "st", id: "$" }, { BLOCK: 0 });
        await blocked(1);
        const id = await redis.xAdd("st", "*", { n: "1" });
        assert.equal((await within(read, "the entry"))[0].messages[0].id, id);
        assert.equal(await waiting.blPop(["no", "nothing"], 0.01), null);
        assert.equal(await waiting.blMove("no", "nothing", "LEFT", "LEFT", 0.01), null);
      });

      test("scans find everything", async () => {
        await redis.mSet(Object.fromEntries(KEYS.map((key) => [key, "x"])));
        const members = Array.from({ length: 1000 }, (_, number) => `member:${number}`);
        await redis.sAdd("s", members);
        await redis.hSet("h", Object.fromEntries(members.map((member) => [member, "v"])));
        await redis.zAdd("z", members.map((value, score) => ({ value, score })));
        const all = async (pieces, name = (element) => element) => {
          const found = [];
          for await (const piece of pieces) found.push(...piece.map(name));
          return [...new Set(found)].sort();
        };
        assert.deepEqual(await all(redis.scanIterator({ MATCH: "key:*", COUNT: 7 })), [...KEYS].sort());
        assert.deepEqual(await all(redis.scanIterator({ TYPE: "zset" })), ["z"]);
        assert.deepEqual(await all(redis.sScanIterator("s")), [...members].sort());
        assert.deepEqual(await all(redis.hScanIterator("h"), ({ field }) => field), [...members].sort());
        const found = await all(redis.zScanIterator("z", { MATCH: "member:99?" }), ({ value }) => value);
        assert.equal(found.length, 10);
      });

      test("a pool", async () => {
        const pool = createClientPool(options(), { minimum: 2, maximum: 5 });
        pool.on("error", () => {});
        await pool.connect();
        const pushed = Promise.all(KEYS.map((key) => pool.rPush("l", key)));
        const popped = Promise.all(Array.from({ length: 3 }, () => pool.blPop("later", 0)));
        await pushed;
        assert.deepEqual((await pool.lRange("l", 0, -1)).sort(), [...KEYS].sort());
        await blocked(3);
        await redis.rPush("later", ["1", "2", "3"]);
        const elements = (await within(popped, "all three")).map(({ element }) => element);
        assert.deepEqual(elements.sort(), ["1", "2", "3"]);
        // One after the other in the same client: what they watch is that client's.
        const watched = await pool.execute(async (client) => {
          await client.watch("a");
          await redis.set("a", "changed");
          return client.multi().get("a").exec().catch((error) => error.constructor.name);
        });
        assert.equal(watched, "WatchError");
        assert.deepEqual(await pool.multi().set("a", "1").get("a").exec(), ["OK", "1"]);
        await pool.close();
      });

      test("commands by their words", async () => {
        assert.equal(await redis.sendCommand(["SET", "a", "1", "EX", "100"]), "OK");
        assert.equal(await redis.sendCommand(["INCR", "a"]), 2);
        await redis.sendCommand(["HSET", "h", "f", "v"]);
        const hash = await redis.sendCommand(["HGETALL", "h"]);
        assert.deepEqual(RESP === 3 ? { ...hash } : hash, RESP === 3 ? { f: "v" } : ["f", "v"]);
        await redis.sendCommand(["ZADD", "z", "1.5", "m"]);
        assert.equal(await redis.sendCommand(["ZSCORE", "z", "m"]), RESP === 3 ? 1.5 : "1.5");
        await assert.rejects(redis.sendCommand(["LPUSH", "a", "x"]), /^(Simple)?Error: WRONGTYPE/);
        await assert.rejects(redis.sendCommand(["NOSUCH"]), /unknown command 'NOSUCH'/);
      });

      test("databases, names and what the server tells of them", async () => {
        const client = await connect({ database: 3, name: "ann" });
        await client.set("a", "in 3");
        assert.equal(await redis.get("a"), null);
        const info = await client.clientInfo();
        assert.deepEqual([info.name, info.db, info.resp, info.libName], ["ann", 3, RESP, "node-redis"]);
        const named = (await redis.clientList()).filter(({ name }) => name === "ann");
        assert.equal(named.length, 1);
        assert.equal(await redis.clientKill({ filter: "ID", id: info.id }), 1);
        // It comes back, into its database.
        await waitUntil(async () => (await client.get("a").catch(() => null)) === "in 3", "it is back");
        assert.deepEqual({ ...(await redis.configGet("maxclient?")) }, { maxclients: "10000" });
        const [get] = await redis.commandInfo(["get"]);
        assert.deepEqual([get.name, get.arity, get.firstKeyIndex], ["get", 2, 1]);
      });

      test("MONITOR", async () => {
        const monitor = await connect();
        const seen = [];
        await monitor.monitor((line) => seen.push(line));
        await redis.set(KEYS[3], "v");
        await waitUntil(() => seen.length > 0, "the command is shown");
        assert.match(seen[0], new RegExp(`\\] "SET" "${KEYS[3]}" "v"$`));
      });

      // Only RESP3 can tell a client what has changed.
      const cached = RESP === 3 ? test : () => {};
      cached("the cache of the client", async () => {
        const client = await connect({ clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" } });
        const cache = client.clientSideCache;
        for (const key of KEYS) await redis.set(key, "old");
        for (const key of KEYS) assert.equal(await client.get(key), "old");
        assert.equal(cache.stats().missCount, KEYS.length);
        for (const key of KEYS) assert.equal(await client.get(key), "old");
        assert.equal(cache.stats().hitCount, KEYS.length);
        await redis.mSet(Object.fromEntries(KEYS.map((key) => [key, "new"])));
        for (const key of KEYS) {
          await waitUntil(async () => (await client.get(key)) === "new", `${key} is read anew`);
        }
        await redis.flushAll();
        for (const key of KEYS) {
          await waitUntil(async () => (await client.get(key)) === null, `${key} is gone`);
        }
      });

      test("clients come back after their worker was killed", async () => {
        const clients = await Promise.all(Array.from({ length: 6 }, () => connect()));
        const subscriber = await connect();
        const heard = [];
        await subscriber.subscribe("news", (message) => heard.push(message));
        let closed = 0;
        for (const client of clients) client.on("reconnecting", () => (closed += 1));
        const acknowledged = await writeWhileWorkersDie(server, clients);
        assert.ok(closed >= clients.length, `${closed} connections were closed`);
        const found = await Promise.all(acknowledged.map((key) => clients[0].get(key)));
        assert.deepEqual(found, acknowledged);
        await waitUntil(async () => (await redis.publish("news", "again")) === 1, "it has subscribed anew");
        await waitUntil(() => heard.length > 0, "the message");
        assert.deepEqual(heard, ["again"]);
      });
    });
  }
}
