const fields = ["source", "kind", "words"].map(id => document.getElementById(id));
const bar = document.querySelector(".filters");
const cards = [...document.querySelectorAll(".clip")].map(card =>
  [card, card.dataset.source, card.dataset.kind, card.textContent.toLowerCase()]);
function choose() {
  const [source, kind, words] = fields.map(field => field.value);
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const passed = bar.parentNode.getBoundingClientRect().top < 0;
  let shown = 0;
  for (const [card, from, as, text] of cards) {
    const fits = (!source || from === source) && (!kind || as === kind)
      && wanted.every(word => text.includes(word));
    card.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} of ${cards.length}`;
  if (passed) bar.parentNode.scrollIntoView();
}
fields.forEach(field => field.addEventListener("input", choose));
choose();
