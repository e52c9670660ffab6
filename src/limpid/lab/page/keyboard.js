// The keyboard in groups of buttons and in fields.

/** One stop of the Tab key for a group of buttons, in which the arrow keys move the focus. Returns the group. */
export function arrowKeys(group) {
  const buttons = () => [...group.querySelectorAll("button")].filter((one) => !one.disabled && one.offsetParent);
  const stopAt = (chosen) => {
    for (const one of group.querySelectorAll("button")) one.tabIndex = one === chosen ? 0 : -1;
  };
  const begin = () => {
    if (group.contains(document.activeElement)) stopAt(document.activeElement);
    else stopAt(group.querySelector("[aria-selected=true], [aria-pressed=true]") ?? group.querySelector("button"));
  };
  new MutationObserver(begin).observe(group, { childList: true });
  group.addEventListener("focusin", ({ target }) => target.closest("button") && stopAt(target.closest("button")));
  group.addEventListener("keydown", (event) => {
    const from = event.target.closest("button");
    if (!from || event.ctrlKey || event.metaKey || event.altKey || !(event.key in DIRECTIONS)) return;
    event.preventDefault();
    event.stopPropagation(); // in a view the arrow keys may do something else
    neighbour(buttons(), from, DIRECTIONS[event.key])?.focus();
  });
  begin();
  return group;
}

const DIRECTIONS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** The button beside another one: the next in reading order, or the one in the next row that is most nearly below. */
function neighbour(buttons, from, [down, right]) {
  if (right) return buttons[buttons.indexOf(from) + right];
  const rows = [...new Set(buttons.map((one) => one.offsetTop))].sort((a, b) => a - b);
  const row = rows[rows.indexOf(from.offsetTop) + down];
  const off = (one) => Math.abs(one.offsetLeft + one.offsetWidth / 2 - from.offsetLeft - from.offsetWidth / 2);
  return buttons.filter((one) => one.offsetTop === row).sort((a, b) => off(a) - off(b))[0];
}

/** Call `act` when Enter is pressed in a text field below a node. */
export function onEnter(node, act) {
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input[type=text]")) act();
  });
}
