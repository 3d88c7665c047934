// Underlines the first of each word of the glossary on the page; the pointer on it, or a tap, opens its meaning.
//
// The page is React's: nothing in it is changed. Ranges of its text are painted by the browser (CSS Custom Highlight
// API); where it has no such thing, the button with all words remains.

const NAME = "glossary-word";
const SKIPPED = "h1, h2, h3, h4, button, a, code, pre, .katex, .unseen, [role=tooltip], [data-testid=stPopoverBody]";
const PAUSE = 300; // ms without a change of the page before it is read again
const sheet = new CSSStyleSheet();
// Written once for the page and for the shadow of each component in it.
sheet.replaceSync(`::highlight(${NAME}) { text-decoration: underline dotted 1.5px; text-underline-offset: 3px; }`);

export default function () {
  const main = document.querySelector('[data-testid="stMain"]');
  if (!globalThis.Highlight || !main) return;
  let places = [];
  let timer = 0;
  const card = document.createElement("div");
  card.className = "glossary-card";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  const { backgroundColor, color, font } = getComputedStyle(document.querySelector('[data-testid="stApp"]'));
  Object.assign(card.style, { backgroundColor, color, font }); // the theme's
  document.body.append(card);
  if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);

  const read = () => {
    places = find(main);
    CSS.highlights.set(NAME, new Highlight(...places.map(({ range }) => range)));
  };
  const observer = new MutationObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(read, PAUSE);
  });
  observer.observe(main, { childList: true, subtree: true, characterData: true });
  const point = ({ clientX, clientY }) => {
    const place = places.find(({ range }) => [...range.getClientRects()].some(
      ({ left, right, top, bottom }) => clientX >= left && clientX <= right && clientY >= top && clientY <= bottom));
    card.hidden = !place;
    main.style.cursor = place ? "help" : "";
    if (place) open(card, place);
  };
  const hide = () => { card.hidden = true; };
  main.addEventListener("pointermove", point);
  main.addEventListener("click", point);
  main.addEventListener("scroll", hide);
  main.addEventListener("pointerleave", hide);
  read();
  return () => {
    clearTimeout(timer);
    observer.disconnect();
    main.removeEventListener("pointermove", point);
    main.removeEventListener("click", point);
    main.removeEventListener("scroll", hide);
    main.removeEventListener("pointerleave", hide);
    main.style.cursor = "";
    CSS.highlights.delete(NAME);
    card.remove();
  };
}

// The first occurrence of each word in the page's text, also inside components.
function find(main) {
  const left = WORDS.map((word) => ({ ...word, pattern: new RegExp(`(?<![\\w-])(?:${word.forms})(?![\\w-])`, "i") }));
  const places = [];
  for (const root of [main, ...shadows(main)]) {
    if (root !== main && !root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (left.length && walker.nextNode()) {
      const node = walker.currentNode;
      if (!node.parentElement?.checkVisibility() || node.parentElement.closest(SKIPPED)) continue;
      for (const word of [...left]) {
        const match = word.pattern.exec(node.data);
        if (!match) continue;
        left.splice(left.indexOf(word), 1);
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        places.push({ ...word, range });
      }
    }
  }
  return places;
}

function shadows(main) {
  return [...main.querySelectorAll("*")].map((node) => node.shadowRoot).filter(Boolean);
}

function open(card, { word, meaning, range }) {
  const name = document.createElement("b");
  name.textContent = word;
  card.replaceChildren(name, document.createElement("br"), meaning);
  const { left, bottom, top } = range.getBoundingClientRect();
  card.style.left = `${Math.max(8, Math.min(left, innerWidth - card.offsetWidth - 8))}px`;
  const below = bottom + 6 + card.offsetHeight < innerHeight;
  card.style.top = `${below ? bottom + 6 : top - card.offsetHeight - 6}px`;
}
