// What would shut somebody out of the page: each finding is a line of words. WCAG 2.2 by number.
(() => {
  const found = [];
  const say = (rule, element, more) =>
    found.push(`${rule}: ${element ? element.outerHTML.slice(0, 120) : "the page"}${more ? " " + more : ""}`);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (element) => {
    const ids = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const words = ids.map((id) => (document.getElementById(id) || {}).textContent || "").join(" ");
    return (words || element.getAttribute("aria-label") || element.textContent || "").trim();
  };
  if (!document.documentElement.lang) say("3.1.1 no language");
  if (!document.title) say("2.4.2 no title");
  if (all("h1").length !== 1) say("one h1 is wanted", null, `found ${all("h1").length}`);
  if (all("main").length !== 1) say("one main is wanted");
  let level = 0;
  for (const heading of all("h1,h2,h3,h4,h5,h6")) {
    const now = Number(heading.nodeName[1]);
    if (now > level + 1) say("1.3.1 a level of headings is left out", heading);
    level = now;
  }
  const ids = all("[id]").map((element) => element.id);
  ids.filter((id, place) => ids.indexOf(id) !== place).forEach((id) => say("4.1.1 an id twice", null, id));
  for (const element of all("[aria-labelledby],[aria-describedby]")) {
    for (const name of ["aria-labelledby", "aria-describedby"]) {
      const ids = (element.getAttribute(name) || "").split(/\s+/).filter(Boolean);
      ids.filter((id) => !document.getElementById(id)).forEach((id) => say("1.3.1 leads nowhere", element, id));
    }
  }
  for (const svg of all("svg")) {
    if (svg.getAttribute("aria-hidden") === "true") continue;
    if (svg.getAttribute("role") !== "img" || !named(svg)) say("1.1.1 a picture without a name", svg);
  }
  for (const image of all("img")) if (!image.hasAttribute("alt")) say("1.1.1 an image without alt", image);
  for (const table of all("table")) {
    if (!table.querySelector("caption")) say("1.3.1 a table without caption", table);
    if (!table.querySelector("thead th")) say("1.3.1 a table without headers", table);
    for (const header of table.querySelectorAll("th")) if (!header.hasAttribute("scope")) say("1.3.1 a header without scope", header);
  }
  for (const element of all("a[href],button,input,[role=region],section")) {
    const label = element.id && document.querySelector(`label[for="${element.id}"]`);
    if (!named(element) && !label) say("4.1.2 without a name", element);
  }
  for (const element of all("[tabindex]")) if (Number(element.getAttribute("tabindex")) > 0) say("2.4.3 a positive tabindex", element);
  // What scrolls must be reached by the keyboard.
  for (const element of all("*")) {
    const scrolls = /auto|scroll/.test(getComputedStyle(element).overflowX) && element.scrollWidth > element.clientWidth + 1;
    if (scrolls && element.tabIndex < 0) say("2.1.1 scrolls, but takes no focus", element);
  }
  if (document.documentElement.scrollWidth > innerWidth + 1) say("1.4.10 the page itself scrolls sideways", null, `${document.documentElement.scrollWidth} > ${innerWidth}`);

  // Contrast of each text with what is behind it, 4.5 at least (1.4.3).
  const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const colour = (text) => {
    const parts = (text.match(/[\d.]+/g) || []).map(Number);
    return parts.length < 3 ? null : { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const light = ({ rgb }) => {
    const [r, g, b] = rgb.map((value) => channel(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const ground = colour(getComputedStyle(at).backgroundColor);
      if (ground && ground.alpha === 1) return ground;
    }
    return colour("rgb(255, 255, 255)");
  };
  let looked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || !element.getClientRects().length) continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT", "TITLE", "title", "desc"].includes(element.nodeName)) continue;
    const style = getComputedStyle(element);
    let ink, ground;
    if (element.nodeName === "text") {
      ink = colour(style.fill);
      // Of the shapes under it, the last that is drawn before it.
      const box = element.getBoundingClientRect();
      const [x, y] = [box.left + Math.min(4, box.width / 2), box.top + box.height / 2];
      const under = [...element.ownerSVGElement.querySelectorAll("rect")].filter((shape) => {
        const edge = shape.getBoundingClientRect();
        const before = shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
        return before && edge.left <= x && x <= edge.right && edge.top <= y && y <= edge.bottom;
      });
      ground = under.length ? colour(getComputedStyle(under.pop()).fill) : behind(element.ownerSVGElement);
    } else {
      ink = colour(style.color);
      ground = behind(element);
    }
    looked += 1;
    if (ink && ground && contrast(ink, ground) < 4.5) {
      say("1.4.3 too little contrast", element, contrast(ink, ground).toFixed(2));
    }
  }
  // A page is more than its frame.
  if (looked < (document.getElementById("token") ? 4 : 20)) say("hardly any text was looked at", null, String(looked));
  return found;
})()
