// Plotly draws the figures. The sliders are the page's own <input type="range">: the browser makes them reachable by
// keyboard and tells their values to screen readers, which plotly's sliders, drawn in SVG, do not allow.
"use strict";

const settings = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

function assign(trace, attribute, value) {
  const names = attribute.split(".");
  const last = names.pop();
  names.reduce((inner, name) => (inner[name] ??= {}), trace)[last] = value;
}

function show(panel) {
  const section = document.getElementById(panel.name);
  const figure = section.querySelector(".figure");
  const reading = section.querySelector(".reading");
  const sliders = [...section.querySelectorAll("input")];
  const outputs = [...section.querySelectorAll("output")];

  // The last slider runs fastest.
  const place = (over) => over.reduce((index, i) => index * panel.words[i].length + sliders[i].valueAsNumber, 0);

  function draw() {
    for (const { trace, attribute, over, frames } of panel.moving) {
      assign(panel.data[trace], attribute, frames[place(over)]);
    }
    sliders.forEach((slider, i) => {
      const words = panel.words[i][slider.valueAsNumber];
      outputs[i].textContent = words;
      slider.setAttribute("aria-valuetext", words);
    });
    reading.textContent = panel.readings[place(sliders.map((_, i) => i))];
    Plotly.react(figure, panel.data, panel.layout, settings);
  }

  // A slider moves more often than a phone can draw.
  let waiting = false;
  function drawSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  sliders.forEach((slider) => slider.addEventListener("input", drawSoon));
  draw();
}

JSON.parse(document.getElementById("panels").textContent).forEach(show);
