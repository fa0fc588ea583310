// The theme that somebody chose, before the first paint. Without a choice the system's holds.
(() => {
  "use strict";
  let theme = null;
  try { theme = localStorage.getItem("yoyu-theme"); } catch { /* storage may be forbidden: the system's theme */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  document.documentElement.classList.add("scripted");
})();
