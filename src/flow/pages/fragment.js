
if (location.hash && location.hash.length <= 2048 && !/\/callback$/.test(location.pathname)) {
  for (var i = 0; i < document.links.length; i++) {
    var link = document.links[i];
    if (!link.getAttribute("href")) {
      continue;
    }
    if (link.search.indexOf("?rd=") === 0) {
      link.search = link.search.split("%23")[0] + encodeURIComponent(location.hash);
    } else {
      link.hash = location.hash;
    }
  }
}
