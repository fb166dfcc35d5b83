(function () {
  var root = document.documentElement, off = {}, box = document.getElementById("find");
  root.classList.add("js");
  function apply() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
    document.querySelectorAll("[data-verdict]").forEach(function (row) {
      var text = row.dataset.text.toLowerCase();
      row.hidden = !!off[row.dataset.verdict] || !words.every(function (word) { return text.indexOf(word) >= 0; });
      if (!row.hidden && row.tagName === "TR") { shown += 1; }
    });
    document.querySelectorAll("[data-group]").forEach(function (group) {
      group.hidden = !group.querySelector("[data-verdict]:not([hidden])");
    });
    document.getElementById("shown").textContent = shown + " shown";
  }
  document.querySelectorAll("[data-toggle]").forEach(function (chip) {
    chip.addEventListener("click", function () {
      var verdict = chip.dataset.toggle;
      off[verdict] = !off[verdict];
      chip.setAttribute("aria-pressed", String(!off[verdict]));
      apply();
    });
  });
  box.addEventListener("input", apply);
  function reveal() {
    var target = location.hash && document.getElementById(location.hash.slice(1));
    for (var up = target; up; up = up.parentElement) { if (up.tagName === "DETAILS") { up.open = true; } }
    if (target) { target.querySelectorAll("details").forEach(function (part) { part.open = true; }); }
  }
  window.addEventListener("hashchange", reveal);
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll(".bug details").forEach(function (part) { part.open = true; });
  });
  reveal();
  apply();
})();
