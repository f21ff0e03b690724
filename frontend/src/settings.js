// @ts-check
/** The fields of a session that the page can change: how each reads and writes the API's session object. Pure. */

/** @typedef {'voice' | 'instructions' | 'modality' | 'speed' | 'detection' | 'threshold' | 'silence' | 'prefix' | 'idle' | 'eagerness' | 'interruption' | 'noise' | 'transcription' | 'language' | 'toolChoice' | 'effort' | 'maxTokens'} FieldName */
/** @typedef {Record<string, any>} Values by field name */
/**
 * @typedef {object} Field
 * @property {FieldName} name
 * @property {string} label
 * @property {'select' | 'text' | 'long' | 'number' | 'range' | 'switch'} kind
 * @property {string} param path of the API's errors that belong here
 * @property {any} initial
 * @property {[any, string][]} [options] value and label
 * @property {[number, number, number]} [range] least, most, step
 * @property {string} [unit]
 * @property {(values: Values) => boolean} [shown]
 * @property {string} [group] starts a group of fields
 */

const vad = (/** @type {Values} */ { detection }) => detection === 'server_vad';

/** @type {Field[]} */
export const FIELDS = [
  {
    name: 'voice',
    label: 'Voice',
    kind: 'select',
    param: 'audio.output.voice',
    initial: '',
    options: [['', 'Server’s default']],
    group: 'Reply',
  },
  { name: 'instructions', label: 'Instructions', kind: 'long', param: 'instructions', initial: null },
  {
    name: 'modality',
    label: 'Answers in',
    kind: 'select',
    param: 'output_modalities',
    initial: 'audio',
    options: [
      ['audio', 'Speech'],
      ['text', 'Text'],
    ],
  },
  {
    name: 'speed',
    label: 'Speed',
    kind: 'range',
    param: 'audio.output.speed',
    initial: 1,
    range: [0.25, 1.5, 0.05],
    unit: '×',
  },
  {
    name: 'effort',
    label: 'Reasoning effort',
    kind: 'select',
    param: 'reasoning',
    initial: '',
    options: [
      ['', 'Model’s own'],
      ['none', 'None'],
      ['minimal', 'Minimal'],
      ['low', 'Low'],
      ['medium', 'Medium'],
      ['high', 'High'],
    ],
  },
  {
    name: 'maxTokens',
    label: 'Longest answer',
    kind: 'number',
    param: 'max_output_tokens',
    initial: '',
    unit: 'tokens',
  },
  {
    name: 'detection',
    label: 'End of turn',
    kind: 'select',
    param: 'audio.input.turn_detection',
    initial: 'server_vad',
    options: [
      ['server_vad', 'After a silence'],
      ['semantic_vad', 'When it sounds finished'],
      ['none', 'By hand'],
    ],
    group: 'Turns',
  },
  {
    name: 'silence',
    label: 'Silence',
    kind: 'number',
    param: 'audio.input.turn_detection.silence_duration_ms',
    initial: 500,
    unit: 'ms',
    shown: vad,
  },
  {
    name: 'threshold',
    label: 'Speech threshold',
    kind: 'range',
    param: 'audio.input.turn_detection.threshold',
    initial: 0.5,
    range: [0, 1, 0.05],
    shown: vad,
  },
  {
    name: 'prefix',
    label: 'Kept before speech',
    kind: 'number',
    param: 'audio.input.turn_detection.prefix_padding_ms',
    initial: 300,
    unit: 'ms',
    shown: vad,
  },
  {
    name: 'idle',
    label: 'Speak up after',
    kind: 'number',
    param: 'audio.input.turn_detection.idle_timeout_ms',
    initial: '',
    unit: 'ms',
    shown: vad,
  },
  {
    name: 'eagerness',
    label: 'Eagerness',
    kind: 'select',
    param: 'audio.input.turn_detection.eagerness',
    initial: 'auto',
    options: [
      ['auto', 'Auto'],
      ['low', 'Low'],
      ['medium', 'Medium'],
      ['high', 'High'],
    ],
    shown: ({ detection }) => detection === 'semantic_vad',
  },
  {
    name: 'interruption',
    label: 'Speech over a reply',
    kind: 'select',
    param: 'audio.input.turn_detection.interruption',
    initial: 'pause',
    options: [
      ['pause', 'Pauses until classified'],
      ['immediate', 'Stops at once'],
      ['play_on', 'Plays on until classified'],
    ],
    shown: ({ detection }) => detection !== 'none',
  },
  {
    name: 'noise',
    label: 'Noise reduction',
    kind: 'select',
    param: 'audio.input.noise_reduction',
    initial: '',
    options: [
      ['', 'Off'],
      ['near_field', 'Headset'],
      ['far_field', 'Room'],
    ],
    group: 'Input',
  },
  {
    name: 'transcription',
    label: 'Write down what I say',
    kind: 'switch',
    param: 'audio.input.transcription',
    initial: true,
  },
  {
    name: 'language',
    label: 'Language',
    kind: 'text',
    param: 'audio.input.transcription.language',
    initial: '',
    shown: ({ transcription }) => transcription,
  },
  {
    name: 'toolChoice',
    label: 'Tool choice',
    kind: 'select',
    param: 'tool_choice',
    initial: 'auto',
    options: [
      ['auto', 'Model decides'],
      ['none', 'Never'],
      ['required', 'Always'],
    ],
    group: 'Tools',
  },
];

/** @returns {Values} */
export function initialValues() {
  return Object.fromEntries(FIELDS.map(({ name, initial }) => [name, initial]));
}

/**
 * @param {Values} values
 * @returns {any} `turn_detection`; its other fields keep their values
 */
function turnDetection({ detection, interruption }) {
  return detection === 'none' ? null : { type: detection, interruption };
}

/** @param {Record<string, any>} part */
const detecting = (part) => input({ turn_detection: part });

/** What each field puts into a session. @type {Record<FieldName, (values: Values) => Record<string, any>>} */
const WRITERS = {
  voice: ({ voice }) => (voice === '' ? {} : output({ voice })),
  instructions: ({ instructions }) => (instructions === null ? {} : { instructions }),
  modality: ({ modality }) => ({ output_modalities: [modality] }),
  speed: ({ speed }) => output({ speed }),
  effort: ({ effort }) => ({ reasoning: effort === '' ? null : { effort } }),
  maxTokens: ({ maxTokens }) => ({ max_output_tokens: maxTokens === '' ? 'inf' : maxTokens }),
  detection: (values) => input({ turn_detection: turnDetection(values) }),
  silence: ({ silence }) => detecting({ silence_duration_ms: silence }),
  threshold: ({ threshold }) => detecting({ threshold }),
  prefix: ({ prefix }) => detecting({ prefix_padding_ms: prefix }),
  idle: ({ idle }) => detecting({ idle_timeout_ms: idle === '' ? null : idle }),
  eagerness: ({ eagerness }) => detecting({ eagerness }),
  interruption: ({ interruption }) => detecting({ interruption }),
  noise: ({ noise }) => input({ noise_reduction: noise === '' ? null : { type: noise } }),
  transcription: (values) => input({ transcription: transcription(values) }),
  language: (values) => input({ transcription: transcription(values) }),
  toolChoice: ({ toolChoice }) => ({ tool_choice: toolChoice }),
};

/** @param {Record<string, any>} part */
const output = (part) => ({ audio: { output: part } });
/** @param {Record<string, any>} part */
const input = (part) => ({ audio: { input: part } });
/** @param {Values} values */
const transcription = (values) =>
  values.transcription ? { model: 'default', ...(values.language === '' ? {} : { language: values.language }) } : null;

/**
 * The `session` of a `session.update`.
 * @param {Values} values
 * @param {readonly FieldName[]} [names] only these; without: all that differ from a session's defaults
 * @returns {Record<string, any>}
 */
export function toSession(values, names) {
  const changed = FIELDS.filter(({ name, initial }) => values[name] !== initial).map(({ name }) => name);
  /** @type {Record<string, any>} */
  const session = { type: 'realtime' };
  const wanted = new Set(names ?? [...changed, 'transcription', 'interruption']);
  for (const { name, shown } of FIELDS) {
    if (wanted.has(name) && (shown?.(values) ?? true)) merge(session, WRITERS[name](values));
  }
  return session;
}

/**
 * @param {any} session as the server shows it
 * @param {Values} values
 * @returns {Values} with what is in force
 */
export function fromSession(session, values) {
  const { input: heard, output: said } = session.audio;
  const detection = heard.turn_detection;
  /** @type {Values} */
  const found = {
    ...values,
    modality: session.output_modalities[0],
    speed: said.speed,
    toolChoice: typeof session.tool_choice === 'string' ? session.tool_choice : values.toolChoice,
    maxTokens: session.max_output_tokens === 'inf' ? '' : session.max_output_tokens,
    effort: session.reasoning?.effort ?? '',
    noise: heard.noise_reduction?.type ?? '',
    transcription: heard.transcription !== null,
    language: heard.transcription?.language ?? '',
    detection: detection?.type ?? 'none',
  };
  if (values.voice !== '') found.voice = typeof said.voice === 'string' ? said.voice : said.voice.id;
  if (values.instructions !== null) found.instructions = session.instructions;
  if (detection === null) return found;
  found.interruption = detection.interruption ?? values.interruption;
  found.silence = detection.silence_duration_ms ?? values.silence;
  found.threshold = detection.threshold ?? values.threshold;
  found.prefix = detection.prefix_padding_ms ?? values.prefix;
  found.idle = detection.idle_timeout_ms ?? '';
  found.eagerness = detection.eagerness ?? values.eagerness;
  return found;
}

/**
 * @param {string | null} param path of an error, with or without `session.` in front
 * @returns {FieldName | null} the field it belongs to: the one with the longest path that fits
 */
export function fieldOf(param) {
  if (param === null) return null;
  const path = param.replace(/^session\./, '');
  const fits = FIELDS.filter((field) => path === field.param || path.startsWith(`${field.param}.`));
  return fits.sort((a, b) => b.param.length - a.param.length)[0]?.name ?? null;
}

/**
 * @param {Record<string, any>} into
 * @param {Record<string, any>} from
 */
function merge(into, from) {
  for (const [key, value] of Object.entries(from)) {
    const both = value !== null && typeof value === 'object' && !Array.isArray(value) && into[key];
    if (both) merge(into[key], value);
    else into[key] = value;
  }
}
