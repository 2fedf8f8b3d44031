---Whether this is a build with ThreadSanitizer, under which some things cannot be tested.
return os.getenv "PRESET" == "tsan"
