// streamerson for Node in the roles that are compared.
//
//	node peer.js calls <port> <namespace>     awaiter and worker in one process; each line of input is {callers, ms} or {callers, n}, each of output a result
//	node peer.js worker <port> <namespace>    a worker: a pipe of a read stream, a transform and a write stream, as its consumer is
//	node peer.js gateway <port> <namespace>   a route of fastify over an awaiter, as its plugin is; the output is {port}
//
// With the word "pipelined" behind it ioredis pipelines its commands, as in later versions than that on npm; that is faster.
//
// Its plugin for fastify and its consumer are not on npm: a route that does what the plugin does stands in for the one, and a pipe for the
// other. Logs, which are on by default and print all payloads, are off.
'use strict'
const {StreamingDataSource, Topic, streamAwaiter} = require('@streamerson/core')
const {Redis} = require('ioredis')
const {Transform} = require('stream')
const fastify = require('fastify')
const readline = require('readline')

const [role, port, namespace, tuned] = process.argv.slice(2)
const topic = new Topic(namespace)
const logger = require('pino')({level: 'silent'})
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const connect = (pipelined) => new StreamingDataSource({
	logger, controllable: false,
	getConnection: () => new Redis({host: '127.0.0.1', port: Number(port), enableAutoPipelining: pipelined && tuned === 'pipelined'}),
}).connect()

async function worker() {
	const echo = new Transform({objectMode: true, transform: (e, _, done) => done(null, {...e, payload: e.payload})})
	const read = await connect(false)
	read.getReadStream({stream: topic.consumerKey()}).pipe(echo)
		.pipe((await connect(true)).getWriteStream({stream: topic.producerKey(), responseChannel: ''}))
}

async function awaiter() {
	const read = await connect(false)
	const made = streamAwaiter({
		readChannel: read, writeChannel: await connect(true), logger, timeout: 10_000,
		outgoingStream: topic.consumerKey(), incomingStream: topic.producerKey(),
	})
	made.readResponseStream()
	return made
}

// settle gives the reads time to block: they see only what comes after that.
const settle = () => new Promise((r) => setTimeout(r, 300))

const roles = {
	async calls() {
		await worker()
		const {dispatch} = await awaiter()
		await settle()
		const body = JSON.stringify({text: 'x'.repeat(100)})
		readline.createInterface({input: process.stdin}).on('line', async (line) => {
			const {callers, ms = Infinity, n = Infinity} = JSON.parse(line)
			let left = n
			const took = []
			const began = performance.now()
			await Promise.all(Array.from({length: callers}, async () => {
				while (left-- > 0 && performance.now() - began < ms) {
					const at = performance.now()
					const reply = await dispatch(body, 'echo')
					if (reply.text.length !== 100) throw new Error('a wrong reply')
					took.push(performance.now() - at)
				}
			}))
			const seconds = (performance.now() - began) / 1000
			took.sort((a, b) => a - b)
			say({rate: took.length / seconds, p50: Math.round(took[took.length >> 1] * 1e6), p99: Math.round(took[Math.floor(took.length * 0.99)] * 1e6),
				took: n < Infinity ? took : undefined})
		}).on('close', () => process.exit(0))
		say({})
	},
	async worker() {
		await worker()
		await settle()
		say({})
	},
	async gateway() {
		const {dispatch} = await awaiter()
		await settle()
		const server = fastify()
		server.post('/', async (request, reply) => reply.send(await dispatch(JSON.stringify(request.body ?? {}), 'echo')))
		await server.listen({port: 0, host: '127.0.0.1'})
		say({port: server.server.address().port})
	},
}
roles[role]()
if (role !== 'calls') process.stdin.resume().on('end', () => process.exit(0))
