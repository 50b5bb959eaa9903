// Interruptions as people make them: several at once, from elsewhere, too late, with nobody reading.
// Prints what became of each as JSON. Run beside session.js.

import { readFile } from 'node:fs/promises'
import { FlashTalk } from './session.js'

const [gateway, image] = process.argv.slice(2)
const portrait = await readFile(image)
const client = new FlashTalk(gateway)
const rate = 16_000

function create() {
  return client.createSession({
    portrait,
    idle_policy: 'IDLE_POLICY_WAIT',
    pacing: 'PACING_UNLIMITED',
  })
}

function fromElsewhere(session, id) {
  const request = { session_id: session.session_id, interrupt_id: id }
  return client.call('InterruptSession', request)
}

// Reads to the end; nothing is read while `onFrame` is at work, so that the server gets no further.
async function read(stream, onFrame = () => {}) {
  const seen = { frames: [], interrupted: [], closed: null }
  for await (const { frame, interrupted, closed } of stream) {
    if (interrupted) seen.interrupted.push(interrupted)
    if (closed) seen.closed = closed.reason
    if (!frame) continue
    seen.frames.push([frame.frame_index, frame.epoch])
    await onFrame(frame)
  }
  return seen
}

async function threeAtOnce() {
  const stream = client.stream(await create())
  const reading = read(stream)
  await stream.pushAudio(new Int16Array(12 * rate).fill(1_000))
  const answers = await Promise.all([stream.interrupt(), stream.interrupt(), stream.interrupt()])
  await stream.pushAudio(new Int16Array(rate).fill(2_000))
  stream.finish()
  return { answers: answers.map((answer) => answer.epoch), ...(await reading) }
}

// What the server drops frees the client's window, whoever asked for it.
async function windowFull() {
  const session = await create()
  const stream = client.stream(session)
  let interruption
  const reading = read(stream, () => (interruption ??= fromElsewhere(session, 'from afar')))
  await stream.pushAudio(new Int16Array(50 * rate).fill(1_000))
  stream.finish()
  const seen = await reading
  return { answer: (await interruption).interrupted, ...seen }
}

async function afterTheEnd() {
  const session = await create()
  const stream = client.stream(session)
  let interruption
  const reading = read(stream, () => (interruption ??= fromElsewhere(session, 'the same')))
  await stream.pushAudio(new Int16Array(20 * rate).fill(1_000))
  stream.finish()
  const seen = await reading
  const answer = (await interruption).interrupted
  return { answer, again: (await fromElsewhere(session, 'the same')).interrupted, ...seen }
}

// Nobody reads: each call ends within the client's patience and says why.
async function nobodyReads() {
  const impatient = new FlashTalk(gateway, { patienceMs: 400 })
  const stream = impatient.stream(await create())
  const outcomes = await Promise.allSettled([
    stream.interrupt(),
    stream.pushAudio(new Int16Array(50 * rate)),
  ])
  impatient.close()
  return outcomes.map(({ status, reason }) => [status, reason?.message])
}

console.log(
  JSON.stringify({
    three_at_once: await threeAtOnce(),
    window_full: await windowFull(),
    after_the_end: await afterTheEnd(),
    nobody_reads: await nobodyReads(),
  }),
)
client.close()
