// @ts-check
/** What survives a reload (this tab's conversation and key) and what survives the tab (how the page is set up). */

/** @param {Storage} area */
function keeper(area) {
  return {
    /**
     * @template T
     * @param {string} name
     * @param {T} otherwise
     * @returns {T}
     */
    read(name, otherwise) {
      try {
        const text = area.getItem(`realtime.${name}`);
        return text === null ? otherwise : JSON.parse(text);
      } catch {
        return otherwise;
      }
    },

    /**
     * @param {string} name
     * @param {unknown} value null or undefined: forgets it
     */
    write(name, value) {
      try {
        if (value == null) area.removeItem(`realtime.${name}`);
        else area.setItem(`realtime.${name}`, JSON.stringify(value));
      } catch {
        // Full or forbidden: the page works without.
      }
    },
  };
}

export const tab = keeper(sessionStorage);
export const always = keeper(localStorage);
