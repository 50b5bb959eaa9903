// New prompts: one before a word was said, one that a later one replaces, one that is too long.
// Prints what became of each as JSON. Run beside session.js.

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
const seen = { frames: 0, updated: [] }
const reading = (async () => {
  for await (const { frame, prompt_updated: updated } of stream) {
    if (frame) seen.frames += 1
    if (updated) seen.updated.push(updated.outcome)
  }
})()

const first = await stream.updatePrompt('somebody sings in the rain')
const refusal = stream.updatePrompt('x'.repeat(2_001)).catch((error) => error.reason)
const several = [stream.updatePrompt('a robot'), stream.updatePrompt('a robot in the snow')]
// Twice what the client may have ahead: new prompts do not hold speech back.
await stream.pushAudio(new Int16Array(60 * 16_000).fill(1_000))
const outcomes = (await Promise.all(several)).map((updated) => updated.outcome)
stream.finish()
await reading
console.log(JSON.stringify({ first, refusal: await refusal, outcomes, seen }))
client.close()
