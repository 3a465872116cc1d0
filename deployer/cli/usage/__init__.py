"""Wrong command lines and wrong Fabric settings: refused, explained, and corrected where the correction is plain."""
