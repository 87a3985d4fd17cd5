"""Templates, demonstrations and operators; `workers.prompting` reads them."""
