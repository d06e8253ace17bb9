# cmake -DOUT=FILE -DSOURCES=a;b [-DSEPARATOR=,] -P EmbedTexts.cmake: text files as one C++ raw string after another.
set(text "// Made by EmbedTexts.cmake.\n")
foreach(source IN LISTS SOURCES)
  file(READ ${source} content)
  # A string literal may have 64 KB in every compiler; the files are far smaller.
  string(APPEND text "R\"llmc(${content})llmc\"${SEPARATOR}\n")
endforeach()
file(WRITE ${OUT} "${text}")
