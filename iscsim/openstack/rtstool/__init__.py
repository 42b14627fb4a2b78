"""cinder-rtstool for targets of iscsim: the tool itself, executables in its place, and a rtslib_fb."""
