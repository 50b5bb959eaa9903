"""Sources of training videos: one interface for SynthTalk and recorded videos."""
