// @ts-check
/**
 * A session's connection over WebRTC: events go over the data channel `oai-events`, sound over audio tracks. The server
 * plays the reply, so it stops, holds and truncates it without any help of the page.
 */
import { ConnectionRefused, refusalIn, unreachable } from './access.js';
import { encode } from './codec.js';
import { figuresOf } from './call-figures.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {import('./socket-link.js').Link} Link */

/** Candidates are all in the offer: the server takes none later. Those of this machine are found within milliseconds. */
const GATHERING_MS = 2_000;
/** Until the data channel opens. Without it the packets of this page and the server do not reach each other. */
const OPENING_MS = 15_000;

/** @implements {Link} */
export class CallLink {
  /**
   * @param {URL} base of the server
   * @param {string | null} secret
   * @param {import('./socket-link.js').LinkListeners & {onSound: (stream: MediaStream) => void}} listeners
   */
  constructor(base, secret, { onMessage, onClose, onSound }) {
    this.call = true;
    this.onClose = onClose;
    this.closed = false;
    /** The sound that is sent; null: none. @type {MediaStreamTrack | null} */
    this.track = null;
    this.peer = new RTCPeerConnection();
    this.sender = this.peer.addTransceiver('audio', { direction: 'sendrecv' }).sender;
    this.channel = this.peer.createDataChannel('oai-events');
    this.channel.onmessage = ({ data }) => onMessage(data);
    this.channel.onclose = () => this.end('');
    this.peer.ontrack = ({ track }) => onSound(new MediaStream([track]));
    this.peer.onconnectionstatechange = () => {
      if (this.peer.connectionState === 'failed') this.end('no packets arrive any more');
    };
    /** @type {import('./call-figures.js').Counters | null} */
    this.counters = null;
    /** Rejects when the server refuses the call. @type {Promise<void>} */
    this.opened = this.open(base, secret);
  }

  /**
   * @param {URL} base
   * @param {string | null} secret
   */
  async open(base, secret) {
    await this.peer.setLocalDescription();
    await this.gathered();
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/sdp' };
    if (secret !== null) headers.Authorization = `Bearer ${secret}`;
    const body = this.peer.localDescription?.sdp ?? '';
    const response = await fetch(new URL('v1/realtime/calls', base), { method: 'POST', headers, body }).catch(() => {
      throw unreachable();
    });
    if (response.status === 501) throw noWebRtc((await refusalIn(response)).message);
    if (!response.ok) throw await refusalIn(response);
    await this.peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    setTimeout(() => {
      if (this.channel.readyState === 'connecting')
        this.end('no packets reach the server; a firewall may block UDP. WebSocket, under Audio, needs none');
    }, OPENING_MS);
  }

  async gathered() {
    const { peer } = this;
    if (peer.iceGatheringState === 'complete') return;
    await new Promise((resolve) => {
      peer.addEventListener('icegatheringstatechange', () => peer.iceGatheringState === 'complete' && resolve(null));
      setTimeout(resolve, GATHERING_MS);
    });
  }

  /** @param {WireEvent} event */
  send(event) {
    if (this.channel.readyState !== 'open') return false;
    if (event.type === 'input_audio_buffer.append') return this.track !== null; // it goes over the track
    this.channel.send(encode(event));
    return true;
  }

  /** @param {MediaStreamTrack | null} track the sound to send; null: none */
  setTrack(track) {
    if (track === this.track) return;
    this.track = track;
    void this.sender.replaceTrack(track);
  }

  /** @returns {Promise<import('./call-figures.js').Figures>} of the network, since the last call of this method */
  async figures() {
    const { figures, counters } = figuresOf(await this.peer.getStats(), this.counters);
    this.counters = counters;
    return figures;
  }

  /** @param {string} reason */
  end(reason) {
    if (this.closed) return;
    this.close();
    this.onClose({ code: 0, reason });
  }

  close() {
    this.closed = true;
    this.channel.onmessage = null;
    this.peer.ontrack = null;
    this.channel.close();
    this.peer.close();
  }
}

/** @param {string} message of the server */
function noWebRtc(message) {
  return new ConnectionRefused('webrtc_not_available', `${message} You find the switch under Audio, Connection.`);
}
