// Speaks in two parts; after the first frames it says so and waits for a line, the connection being
// broken meanwhile. Prints the frames as JSON. Run beside session.js.

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { FlashTalk } from './session.js'

const [gateway, image, speech, seed] = process.argv.slice(2)
const WAV_HEADER = 44
const FIRST_SAMPLES = 60_000
const client = new FlashTalk(gateway)
const session = await client.createSession({
  portrait: await readFile(image),
  seed,
  idle_policy: 'IDLE_POLICY_WAIT',
  pacing: 'PACING_UNLIMITED',
})
const stream = client.stream(session)
const bytes = await readFile(speech)
const pcm = new Int16Array(bytes.buffer, bytes.byteOffset + WAV_HEADER)
const frames = []
let rest

async function goOn() {
  const told = once(process.stdin, 'data')
  console.error('broken?')
  await told
  await stream.pushAudio(pcm.slice(FIRST_SAMPLES))
  stream.finish()
}

await stream.pushAudio(pcm.slice(0, FIRST_SAMPLES))
for await (const { frame } of stream) {
  if (!frame) continue
  const { frame_index, key_frame, video } = frame
  frames.push({ frame_index, key_frame, video: video.toString('base64') })
  if (frames.length === 30) rest = goOn()
}
await rest
console.log(JSON.stringify({ frames, reconnects: stream.reconnects }))
client.close()
process.stdin.destroy()
