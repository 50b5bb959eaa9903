// Talks, interrupts, says something else; prints what came as JSON. Run beside session.js.

import { readFile } from 'node:fs/promises'
import { FlashTalk } from './session.js'

const [gateway, image] = process.argv.slice(2)
const client = new FlashTalk(gateway)
const session = await client.createSession({
  portrait: await readFile(image),
  idle_policy: 'IDLE_POLICY_WAIT',
  pacing: 'PACING_UNLIMITED',
})
const stream = client.stream(session)
const heard = []
let interruption

async function interrupt() {
  const answer = await stream.interrupt(20)
  await stream.pushAudio(new Int16Array(16_000).fill(2_000))
  stream.finish()
  return answer
}

await stream.pushAudio(new Int16Array(10 * 16_000).fill(1_000))
for await (const { frame, interrupted } of stream) {
  if (interrupted) heard.push('interrupted')
  if (!frame) continue
  heard.push([frame.frame_index, frame.epoch, frame.pcm.readInt16LE(0)])
  if (frame.frame_index === 30 && !interruption) interruption = interrupt()
}
console.log(JSON.stringify({ heard, answer: await interruption }))
client.close()
