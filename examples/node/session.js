// A FlashTalk session over gRPC, from the protos as they are; docs/protocol.md is all it was
// written from. The stream is unbroken: a lost connection is opened again at the next gateway.

import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'

const PROTOS = fileURLToPath(new URL('../../protos', import.meta.url))
const { flashtalk } = grpc.loadPackageDefinition(
  protoLoader.loadSync('flashtalk/v1/session_service.proto', {
    includeDirs: [PROTOS],
    keepCase: true,
    defaults: true,
    longs: Number, // frames and samples stay below 2^53 for thousands of years
    enums: String,
    oneofs: true,
  }),
)

const SILENCE_MS = 15_000 // the server speaks every 5 s: after this the connection is dead
const CALL_MS = 30_000
const BACKOFF_MS = [100, 200, 400, 800, 1000]
const PACKET_SAMPLES = 8_000
const FRAMES_PER_MESSAGE = 7 // a quarter of a chunk: the server has less to do
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\]):\d+$/
const AGAIN = new Set([grpc.status.UNAVAILABLE, grpc.status.CANCELLED])

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
// With jitter: the clients of a gateway that died must not all come back at once.
const backoffMs = (attempt) =>
  BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)] * (0.5 + 0.5 * Math.random())

/** Gateways of one deployment; calls go to the next one when one does not answer. */
export class FlashTalk {
  #stubs
  #turn = 0
  #metadata = new grpc.Metadata()

  /**
   * @param targets 'HOST:PORT', comma-separated.
   * @param options.tls true uses TLS with the public authorities; `rootCerts`, the bytes of a
   *   PEM file, uses TLS with those authorities. Without either nothing is encrypted.
   * @param options.apiKey sent with every call; not sent to another machine without TLS, unless
   *   `plaintextKey` is true.
   */
  constructor(
    targets,
    {
      patienceMs = 60_000, tls = false, rootCerts = null, apiKey = '', plaintextKey = false,
    } = {},
  ) {
    this.patienceMs = patienceMs
    const encrypted = tls || rootCerts !== null
    const credentials = encrypted
      ? grpc.credentials.createSsl(rootCerts)
      : grpc.credentials.createInsecure()
    const key = apiKey.trim()
    if (/[^!-~]/.test(key)) throw new Error('apiKey: must be visible ASCII without spaces')
    if (key) this.#metadata.set('authorization', `Bearer ${key}`)
    this.#stubs = targets
      .split(',')
      .map((target) => target.trim())
      .map((target) => {
        if (key && !encrypted && !plaintextKey && !LOOPBACK.test(target)) {
          throw new Error(`apiKey: the connection to ${target} is not encrypted; use tls or rootCerts`)
        }
        // A proxy of the environment is for other machines.
        const options = LOOPBACK.test(target) ? { 'grpc.enable_http_proxy': 0 } : {}
        return new flashtalk.v1.SessionService(target, credentials, options)
      })
  }

  get stub() {
    return this.#stubs[this.#turn % this.#stubs.length]
  }

  turn() {
    this.#turn += 1
  }

  /** A unary call, made again while no gateway answers. */
  async call(method, request) {
    const until = performance.now() + this.patienceMs
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await new Promise((resolve, reject) => {
          const options = { deadline: Date.now() + CALL_MS }
          const done = (error, response) => (error ? reject(error) : resolve(response))
          this.stub[method](request, this.#metadata, options, done)
        })
      } catch (error) {
        if (!AGAIN.has(error.code) || performance.now() > until) throw error
        this.turn()
        await sleep(backoffMs(attempt))
      }
    }
  }

  /** @param request fields of CreateSessionRequest; its request_id makes repeating it harmless. */
  async createSession(request) {
    const { session } = await this.call('CreateSession', {
      request_id: crypto.randomUUID(),
      ...request,
    })
    return session
  }

  async deleteSession(sessionId) {
    await this.call('DeleteSession', { session_id: sessionId })
  }

  stream(session) {
    return new SessionStream(this, session)
  }

  /** One connection of a stream. */
  openStream() {
    return this.stub.Stream(this.#metadata)
  }

  close() {
    for (const stub of this.#stubs) stub.close()
  }
}

/** Speech in, `for await (const event of stream)` out: { frame }, { chunk }, { interrupted }, ... */
export class SessionStream {
  #flashtalk
  #session
  #items = [] // sent, or to be sent, and not used by the server for good
  #next = 0 // of #items, what this connection sends next
  #position = 0
  #utterances = 0
  #used = 0
  #wake = []
  #over = false
  #opened = false
  #moved = 0
  #answers = new Map()
  nextFrame = 0
  reconnects = 0

  constructor(client, session) {
    this.#flashtalk = client
    this.#session = session
  }

  /**
   * Appends speech; resolves once the server has room, rejects when nothing moved for patienceMs.
   * @param pcm Int16Array, one channel.
   */
  async pushAudio(pcm) {
    const { limits } = this.#session
    const packet = Math.min(PACKET_SAMPLES, Math.floor(limits.max_packet_bytes / 2))
    for (let begin = 0; begin < pcm.length; begin += packet) {
      // Below the server's own limit it goes on reading, and hears an interruption at once.
      this.#moved = performance.now()
      while (this.#position - this.#used >= limits.max_buffered_samples - 2 * packet) {
        if (this.#over) throw new Error('the stream has ended')
        const left = this.#moved + this.#flashtalk.patienceMs - performance.now()
        if (left <= 0) throw new Error(this.#late('no speech was accepted'))
        const alarm = setTimeout(() => this.#awaken(), left)
        await new Promise((resolve) => this.#wake.push(resolve))
        clearTimeout(alarm)
      }
      const part = pcm.slice(begin, begin + packet)
      this.#add({ audio: { pcm: Buffer.from(part.buffer), first_sample: this.#position } })
      this.#position += part.length
    }
  }

  /** The utterance is complete: its last words are spoken now. */
  endAudio() {
    this.#utterances += 1
    this.#add({ end_of_audio: {} }, { utterance: this.#utterances })
  }

  /**
   * Stops what is being said; gives the Interrupted, or rejects after patienceMs without an answer.
   * Another part of the program must read on.
   */
  interrupt(playedFrames) {
    const id = crypto.randomUUID()
    const message = { interrupt: { interrupt_id: id, played_frames: playedFrames } }
    return this.#ask(id, message, 'no acknowledgement of the interruption')
  }

  /**
   * Changes the prompt from the next chunk on; gives the PromptUpdated (applied, with its first
   * frame, or superseded by a later one), or rejects if it was refused or failed, or as interrupt.
   */
  async updatePrompt(prompt) {
    const id = crypto.randomUUID()
    const message = { prompt_update: { update_id: id, prompt } }
    const updated = await this.#ask(id, message, 'no result of the prompt update')
    if (['OUTCOME_APPLIED', 'OUTCOME_SUPERSEDED'].includes(updated.outcome)) return updated
    throw Object.assign(new Error(updated.message), { reason: updated.reason })
  }

  #ask(id, message, late) {
    const answer = new Promise((resolve, reject) => {
      const alarm = setTimeout(() => {
        this.#answers.delete(id)
        this.#withdraw(message)
        reject(new Error(this.#late(late)))
      }, this.#flashtalk.patienceMs)
      const done = (settle) => (value) => {
        clearTimeout(alarm)
        this.#answers.delete(id)
        settle(value)
      }
      this.#answers.set(id, { resolve: done(resolve), reject: done(reject) })
    })
    this.#add(message)
    return answer
  }

  /** Nothing follows. */
  finish() {
    this.#add({ finish: {} })
  }

  async *[Symbol.asyncIterator]() {
    let until = performance.now() + this.#flashtalk.patienceMs
    let failed = new Error('the stream has ended')
    try {
      for (let first = true, attempt = 0; ; first = false, attempt += 1) {
        if (!first) {
          this.reconnects += 1
          this.#flashtalk.turn()
          await sleep(backoffMs(attempt - 1))
        }
        try {
          for await (const event of this.#connection()) {
            until = performance.now() + this.#flashtalk.patienceMs
            const last = ['REASON_FINISHED', 'REASON_DELETED'].includes(event.closed?.reason)
            if (event.opened) attempt = 0
            else if (last || !event.closed) yield event
            if (last) return
          }
        } catch (error) {
          if (!AGAIN.has(error.code)) throw error
          failed = error
        }
        if (performance.now() > until) throw failed
      }
    } catch (error) {
      failed = error
      throw error
    } finally {
      this.#over = true
      for (const answer of [...this.#answers.values()]) answer.reject(failed)
      this.#awaken()
    }
  }

  /** One connection, from its StreamOpen to its end. */
  async *#connection() {
    const call = this.#flashtalk.openStream()
    // Without this an error after the last read would have no listener.
    call.on('error', () => {})
    const watchdog = setTimeout(() => call.cancel(), SILENCE_MS)
    const { session_id, spec } = this.#session
    const open = { session_id, sample_rate_hz: spec.sample_rate_hz, channels: 1 }
    open.audio_encoding = 'AUDIO_ENCODING_PCM_S16LE'
    open.frames_per_message = FRAMES_PER_MESSAGE
    // Only a stream of our own is taken up again: another's must not be taken over unasked.
    if (this.#opened) open.resume_frame = this.nextFrame
    const connection = new AbortController()
    let sending
    try {
      call.write({ open })
      for await (const event of call) {
        watchdog.refresh()
        this.#moved = performance.now()
        if (event.opened) {
          this.#opened = true
          this.nextFrame = event.opened.next_frame
          this.#serverHas(event.opened)
          this.#next = 0
          sending = this.#send(call, connection.signal)
        } else if (event.frame) {
          this.nextFrame = event.frame.frame_index + 1
        } else if (event.frames) {
          for (const frame of event.frames.frames) {
            this.nextFrame = frame.frame_index + 1
            yield { frame }
          }
          continue
        } else if (event.chunk) {
          this.#serverHas(event.chunk)
        } else if (event.interrupted) {
          this.#interrupted(event.interrupted)
        } else if (event.prompt_updated) {
          const id = event.prompt_updated.update_id
          const item = this.#items.find(({ message }) => message.prompt_update?.update_id === id)
          if (item) this.#withdraw(item.message)
          this.#answers.get(id)?.resolve(event.prompt_updated)
        } else if (!event.activity && !event.underrun && !event.closed) {
          continue // a heartbeat, or something newer than this client
        }
        yield event
      }
    } finally {
      clearTimeout(watchdog)
      connection.abort()
      this.#awaken()
      call.cancel()
      await sending
    }
  }

  async #send(call, signal) {
    while (!signal.aborted) {
      if (this.#next === this.#items.length) {
        await new Promise((resolve) => this.#wake.push(resolve))
      } else {
        this.#next += 1
        const roomy = call.write(this.#items[this.#next - 1].message)
        if (!roomy) await once(call, 'drain', { signal }).catch(() => {})
      }
    }
  }

  #add(message, marks = {}) {
    if (this.#over) throw new Error('the stream has ended')
    this.#items.push({ message, ...marks })
    this.#awaken()
  }

  #late(what) {
    return `${what} within ${this.#flashtalk.patienceMs} ms; another task must read the events`
  }

  /** Nobody waits for it any more: a new connection does not ask for it. */
  #withdraw(message) {
    const index = this.#items.findIndex((item) => item.message === message)
    if (index >= 0) this.#remove(index)
  }

  #remove(index) {
    this.#items.splice(index, 1)
    if (index < this.#next) this.#next -= 1
    this.#awaken()
  }

  #awaken() {
    for (const resolve of this.#wake.splice(0)) resolve()
  }

  /** Forgets what the server has for good. */
  #serverHas({ input_samples, utterances }) {
    this.#used = Math.max(this.#used, input_samples)
    for (;;) {
      // New prompts wait for their answers, and not for the speech around them.
      const index = this.#items.findIndex(({ message }) => !message.prompt_update)
      const item = this.#items[index]
      const audio = item?.message.audio
      if (audio) {
        const used = this.#used - audio.first_sample
        if (used <= 0) return
        if (used < audio.pcm.length / 2) {
          // Half of it: sent again, a packet begins with the first sample that is missing.
          audio.pcm = audio.pcm.subarray(2 * used)
          audio.first_sample = this.#used
          return
        }
      } else if (!(item?.utterance <= utterances)) {
        return
      }
      this.#remove(index)
    }
  }

  /** The speech before the interruption is dropped, and so is it, whoever asked for it. */
  #interrupted(event) {
    this.nextFrame = event.played_frames
    const is = (item) => item.message.interrupt?.interrupt_id === event.interrupt_id
    const gone = this.#items.slice(0, this.#items.findIndex(is) + 1)
    for (const { message } of gone) {
      const { audio, interrupt } = message
      if (audio) this.#used = Math.max(this.#used, audio.first_sample + audio.pcm.length / 2)
      // An earlier one's barrier has been passed too.
      if (interrupt) this.#answers.get(interrupt.interrupt_id)?.resolve(event)
    }
    const prompts = gone.filter(({ message }) => message.prompt_update)
    this.#items.splice(0, gone.length, ...prompts)
    this.#next = Math.max(0, this.#next - gone.length + prompts.length)
    this.#awaken()
    this.#serverHas(event)
  }
}
