// A page that was opened as a file may not read others, so the search shows titles there, without the lines around what it found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
