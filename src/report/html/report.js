"use strict";
(function () {
  var form = document.querySelector("form.filters");
  var rows = Array.prototype.slice.call(document.querySelectorAll("table.iterations tbody tr"));
  var articles = Array.prototype.slice.call(document.querySelectorAll("article[data-s]"));
  var names = ["cause", "outcome", "test", "sweep", "text"];
  var keys = document.querySelector(".keys");
  if (keys) keys.hidden = false;

  function has(list, value) { return (" " + (list || "") + " ").indexOf(" " + value + " ") >= 0; }
  function fits(item, want) {
    var data = item.dataset;
    return (!want.cause || has(data.c, want.cause)) && (!want.outcome || data.o === want.outcome) &&
      (!want.test || has(data.t, want.test)) && (!want.sweep || data.s === want.sweep) &&
      (!want.text || item.textContent.toLowerCase().indexOf(want.text.toLowerCase()) >= 0);
  }
  function apply(want) {
    if (!form) return;
    var any = names.some(function (name) { return want[name]; });
    var shown = 0;
    rows.forEach(function (row) {
      var fit = fits(row, want);
      row.hidden = !fit;
      if (fit && row.dataset.o !== "passed") shown += 1;
    });
    articles.forEach(function (article) { article.hidden = !fits(article, want); });
    form.querySelector("output").textContent = any ? shown + " iterations that did not pass fit" : "";
    names.forEach(function (name) { if (form.elements[name]) form.elements[name].value = want[name] || ""; });
  }
  function wanted(hash) {
    var want = {};
    new URLSearchParams(hash.slice(2)).forEach(function (value, name) { if (names.indexOf(name) >= 0) want[name] = value; });
    return want;
  }
  function show(target, focus) {
    var article = target.closest("article") || target;
    if (article.hidden) apply({});
    var details = article.querySelector("details");
    if (details) {
      details.open = true;
      if (focus) details.querySelector("summary").focus({ preventScroll: true });
    }
    article.scrollIntoView({ block: "start" });
  }
  // A run that passed has no place of its own: its stretch is shown.
  function stretch(name) {
    var parts = /^(.*\/run)0*(\d+)$/.exec(name);
    return parts && rows.filter(function (row) {
      return row.dataset.prefix === parts[1] && +row.dataset.first <= +parts[2] && +parts[2] <= +row.dataset.last;
    })[0];
  }
  function follow(isUsers) {
    var hash;
    try { hash = decodeURIComponent(location.hash); } catch (error) { hash = location.hash; }
    if (hash.slice(0, 2) === "#?") {
      apply(wanted(location.hash));
      if (isUsers && form) document.getElementById("iterations").scrollIntoView();
      return;
    }
    if (hash.length < 2) { apply({}); return; }
    var target = document.getElementById(hash.slice(1)) || stretch(hash.slice(1));
    if (target && (target.matches("article") || target.matches("tr"))) show(target, true);
  }
  var timer = 0;
  function changed() {
    var query = new URLSearchParams();
    names.forEach(function (name) { var field = form.elements[name]; if (field && field.value) query.set(name, field.value); });
    var text = query.toString();
    history.replaceState(null, "", text ? "#?" + text : location.pathname + location.search);
    apply(wanted("#?" + text));
  }
  if (form) {
    form.hidden = false;
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(changed, 120); });
    form.addEventListener("reset", function () { setTimeout(changed, 0); });
  }
  window.addEventListener("hashchange", function () { follow(true); });
  document.addEventListener("click", function (event) {
    var cell = event.target.closest && event.target.closest("[data-run]");
    if (cell) location.hash = cell.dataset.run;
  });
  var at = -1;
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    var typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape" && form) { form.reset(); event.target.blur(); return; }
    if (typing) return;
    var visible = articles.filter(function (article) { return !article.hidden; });
    if (event.key === "/" && form) { event.preventDefault(); form.elements.text.focus(); return; }
    if (event.key === "j" || event.key === "k") {
      if (!visible.length) return;
      var inside = event.target.closest && event.target.closest("article");
      if (inside) at = visible.indexOf(inside);
      at = Math.min(visible.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)));
      visible[at].querySelector("summary").focus({ preventScroll: true });
      visible[at].scrollIntoView({ block: "center" });
    } else if (event.key === "o" && at >= 0 && visible[at]) {
      var details = visible[at].querySelector("details");
      details.open = !details.open;
    }
  });
  // What is folded away is printed all the same.
  window.addEventListener("beforeprint", function () {
    articles.slice(0, 200).forEach(function (article) { article.querySelector("details").open = true; });
  });
  follow(false);
  // The browser's own way to the fragment takes the focus away again, when the page has loaded.
  window.addEventListener("load", function () { setTimeout(function () { follow(false); }, 0); });
})();
