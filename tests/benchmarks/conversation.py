def run(*a):
    return {}


def goals():
    return []
