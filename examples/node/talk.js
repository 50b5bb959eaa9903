// node talk.js --gateway HOST:PORT --image portrait.png --audio speech.wav --out talk.mp4

import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import {
  ALL_FORMATS,
  AudioSampleSink,
  EncodedAudioPacketSource,
  EncodedPacket,
  EncodedVideoPacketSource,
  FilePathSource,
  FilePathTarget,
  Input,
  Mp4OutputFormat,
  Output,
} from 'mediabunny'
import { FlashTalk } from './session.js'

/** Writes H.264 access units and 16 bit samples, as they come, into an MP4. */
class Mp4 {
  #video = new EncodedVideoPacketSource('avc')
  #audio = new EncodedAudioPacketSource('pcm-s16')
  #output
  #spec
  frames = 0

  constructor(path, spec) {
    this.#spec = spec
    this.#output = new Output({ format: new Mp4OutputFormat(), target: new FilePathTarget(path) })
    this.#output.addVideoTrack(this.#video, { frameRate: spec.fps })
    this.#output.addAudioTrack(this.#audio)
  }

  start() {
    return this.#output.start()
  }

  async add({ frame_index, first_sample, video, pcm, key_frame }) {
    const { fps, sample_rate_hz, size } = this.#spec
    const kind = key_frame ? 'key' : 'delta'
    const picture = new EncodedPacket(video, kind, frame_index / fps, 1 / fps)
    const sound = new EncodedPacket(pcm, 'key', first_sample / sample_rate_hz, 1 / fps)
    const first = this.frames === 0
    const codedSize = { codedWidth: size.width_px, codedHeight: size.height_px }
    await this.#video.add(
      picture,
      first ? { decoderConfig: { codec: 'avc1.42001e', ...codedSize } } : undefined,
    )
    const format = { codec: 'pcm-s16', numberOfChannels: 1, sampleRate: sample_rate_hz }
    await this.#audio.add(sound, first ? { decoderConfig: format } : undefined)
    this.frames += 1
  }

  finish() {
    return this.#output.finalize()
  }
}

async function openSpeech(path, sampleRateHz) {
  const input = new Input({ formats: ALL_FORMATS, source: new FilePathSource(path) })
  const track = await input.getPrimaryAudioTrack()
  if (track?.sampleRate !== sampleRateHz || track.numberOfChannels !== 1) {
    throw new Error(`audio: ${path}: must have one channel at ${sampleRateHz} Hz`)
  }
  return track
}

async function speak(stream, track) {
  for await (const sample of new AudioSampleSink(track).samples()) {
    const pcm = new Int16Array(sample.numberOfFrames)
    sample.copyTo(pcm, { planeIndex: 0, format: 's16' })
    sample.close()
    await stream.pushAudio(pcm)
  }
  stream.finish()
}

async function write(stream, path, spec) {
  const mp4 = new Mp4(path, spec)
  await mp4.start()
  for await (const { frame, chunk } of stream) {
    if (frame) await mp4.add(frame)
    if (chunk) process.stderr.write(`\r${mp4.frames} frames, x${chunk.real_time_factor.toFixed(2)}`)
  }
  process.stderr.write('\n')
  await mp4.finish()
  return mp4.frames
}

async function main() {
  const { values } = parseArgs({
    options: {
      gateway: { type: 'string', default: 'localhost:50050' },
      image: { type: 'string', default: '../portrait.png' },
      audio: { type: 'string', default: '../speech.wav' },
      out: { type: 'string', default: 'talk.mp4' },
      seed: { type: 'string', default: '0' },
      tls: { type: 'boolean', default: false },
      'tls-ca': { type: 'string' },
    },
  })
  const client = new FlashTalk(values.gateway, {
    tls: values.tls,
    rootCerts: values['tls-ca'] ? await readFile(values['tls-ca']) : null,
    // Not an argument: everybody on this machine can read those.
    apiKey: process.env.FLASHTALK_API_KEY ?? '',
  })
  let session
  try {
    session = await client.createSession({
      portrait: await readFile(values.image),
      seed: values.seed,
      idle_policy: 'IDLE_POLICY_WAIT',
      pacing: 'PACING_UNLIMITED',
    })
    const track = await openSpeech(values.audio, session.spec.sample_rate_hz)
    const stream = client.stream(session)
    const [, frames] = await Promise.all([
      speak(stream, track),
      write(stream, values.out, session.spec),
    ])
    console.log(`${values.out}: frames=${frames} reconnects=${stream.reconnects}`)
  } finally {
    if (session) await client.deleteSession(session.session_id).catch(() => {})
    client.close()
  }
}

main().catch((error) => {
  console.error(`talk: ${error.details ?? error.message}`)
  process.exitCode = 1
})
