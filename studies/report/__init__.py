"""What a person sees of a study: text, figures and the page."""
