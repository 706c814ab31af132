// A program on streamerson for Node, as its users write them: the other side of the interop test.
//
//	node peer.js <role> <port> <namespace>
//
//	ask    an awaiter: each line of standard input is {payload, type, sourceId, shard}, each of the output {reply} or {error}
//	write  a write stream for requests, and a read stream for replies: lines are the objects to write, and the events read
//	work   a worker: reads requests, and answers by type
//	pipe   copies the stream of requests to that of replies, as it is
//
// The first line of the output is {clients}: the connections that are going to block in a read.
'use strict'
const {StreamingDataSource, Topic, streamAwaiter} = require('@streamerson/core')
const {Transform} = require('stream')
const readline = require('readline')

const [role, port, namespace] = process.argv.slice(2)
const topic = new Topic(namespace)
const logger = require('pino')({level: 'silent'}) // its default puts all payloads on standard output
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const lines = (each) => readline.createInterface({input: process.stdin}).on('line', (l) => each(JSON.parse(l)))

async function connect() {
	const source = new StreamingDataSource({host: '127.0.0.1', port: Number(port), logger, controllable: true})
	return source.connect()
}

const roles = {
	async ask() {
		const write = await connect()
		const awaiters = {}
		for (const shard of [undefined, 'eu']) {
			const read = await connect() // each blocks in a read
			const awaiter = streamAwaiter({
				readChannel: read, writeChannel: write, logger, timeout: 120_000, // ms, for a busy machine
				outgoingStream: topic.consumerKey(), incomingStream: topic.producerKey(),
			})
			awaiter.readResponseStream(shard).catch((e) => say({error: e.message}))
			awaiters[shard] = {awaiter, client: read.clientId}
		}
		say({clients: Object.values(awaiters).map((a) => a.client)})
		lines(({payload, type, sourceId, shard}) =>
			awaiters[shard].awaiter.dispatch(JSON.stringify(payload), type, sourceId, shard)
				.then((reply) => say({reply}), (e) => say({error: e.message})))
	},
	async write() {
		const write = (await connect()).getWriteStream({topic})
		const source = await connect()
		source.getReadStream({stream: topic.producerKey()}).on('data', say)
		say({clients: [source.clientId]})
		lines((event) => write.write(event))
	},
	async work() {
		const source = await connect()
		const answers = {
			hello: (e) => ({text: 'hello ' + e.payload.name, source: e.messageSourceId, headers: e.messageHeaders}),
			upper: (e) => e.payload.toUpperCase(),
		}
		const handle = new Transform({
			objectMode: true,
			transform: (e, _, done) => done(null, {...e, payload: (answers[e.messageType] ?? (() => ({error: 'unknown type'})))(e)}),
		})
		source.getReadStream({stream: topic.consumerKey()}).pipe(handle)
			.pipe((await connect()).getWriteStream({stream: topic.producerKey(), responseChannel: ''}))
		say({clients: [source.clientId]})
	},
	async pipe() {
		const source = await connect()
		source.getReadStream({stream: topic.consumerKey()})
			.pipe((await connect()).getWriteStream({stream: topic.producerKey(), responseChannel: ''}))
		say({clients: [source.clientId]})
	},
}
roles[role]()
process.stdin.resume().on('end', () => process.exit(0)) // it ends with the test
