// A button that plays: it moves a position from 0 to 1 and back, until it is pressed again.

import { el } from "./dom.js";

export class Player {
  /** `move(position)` is called in every frame, from `position()` on; it takes `seconds` from one end to the other. */
  constructor(seconds, position, move) {
    Object.assign(this, { seconds, position, move, playing: false });
    this.button = el("button", { class: "play", title: "Play (space)", onclick: () => this.toggle() });
    this.show();
  }

  show() {
    this.button.textContent = this.playing ? "❚❚" : "▶";
    this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  toggle() {
    if (this.playing) return this.stop();
    const [from, begin, run] = [this.position(), performance.now(), (this.playing = {})];
    const frame = (now) => {
      if (this.playing !== run) return;
      const phase = (from + Math.max(0, now - begin) / (1000 * this.seconds)) % 2;
      this.move(phase < 1 ? phase : 2 - phase);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    this.show();
  }

  stop() {
    this.playing = false;
    this.show();
  }
}
